import { type LimitNatsOptions, limitNats, type NatsLimiter } from '../../../brokers/nats/index.ts'
import { Gate } from '../../../src/gate/gate.ts'
import type { Middleware } from '../../../src/index.ts'
import type { NatsServer } from '../../support/nats.ts'
import type { Generation, JetStreamAccess, TestConnection } from './client-versions.ts'

/** Returns a gate with NATS patterns. */
export function natsGate(...rules: Middleware[]): Gate {
  const gate = new Gate({ dialect: 'nats' })
  return rules.length > 0 ? gate.use(...rules) : gate
}

export function textOf(message: { readonly data: Uint8Array }): string {
  return Buffer.from(message.data).toString()
}

/** Connections of a consumer and a sender, with limiters. Disposal closes all of them. */
export class Scene implements AsyncDisposable {
  readonly generation: Generation
  readonly nc: TestConnection
  readonly sender: TestConnection
  readonly js: JetStreamAccess
  readonly #limits: NatsLimiter[] = []

  private constructor(
    generation: Generation,
    nc: TestConnection,
    sender: TestConnection,
    js: JetStreamAccess,
  ) {
    this.generation = generation
    this.nc = nc
    this.sender = sender
    this.js = js
  }

  static async open(generation: Generation, server: NatsServer): Promise<Scene> {
    const nc = await generation.connect(server.url)
    const sender = await generation.connect(server.url)
    return new Scene(generation, nc, sender, await generation.jetstream(sender))
  }

  limit(gate: Gate, options: LimitNatsOptions = {}): NatsLimiter {
    const { headers } = this.generation
    const limits = limitNats(gate, { headers, connection: this.nc, ...options })
    this.#limits.push(limits)
    return limits
  }

  /** Publishes `0`, `1`, … and waits until the server has received all. */
  async publish(subject: string, count: number): Promise<void> {
    for (let index = 0; index < count; index++) this.sender.publish(subject, Buffer.from(String(index)))
    await this.sender.flush()
  }

  /** Publishes to a stream and waits for the acknowledgements. */
  async store(subject: string, count: number, from = 0): Promise<void> {
    const all = Array.from({ length: count }, (_, index) => this.js.publish(subject, String(from + index)))
    await Promise.all(all)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const limits of this.#limits) await limits.close()
    await this.nc.close()
    await this.sender.close()
  }
}

export function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index))
}
