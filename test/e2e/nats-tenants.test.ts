import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { NatsMessage } from '../../brokers/nats/index.ts'
import { limit } from '../../src/index.ts'
import { GENERATIONS } from '../brokers/nats/generations.ts'
import { natsGate, Scene } from '../brokers/nats/scene.ts'
import { type NatsServer, startNats } from '../support/nats.ts'
import { until } from '../support/wait.ts'

/*
 * Ten tenants with 100 messages a second each. Nine send 50 a second, one 400. Delays are counted from the publish,
 * which the payload tells, on one machine and one clock.
 */
const RATE = 100
const QUIET_PER_SECOND = 50
const NOISY_PER_SECOND = 400
const SECONDS = 10

let server: NatsServer
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

const p99 = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.ceil(values.length * 0.99) - 1]!

/** What one subscriber saw: delays of the quiet tenants, and how many of the noisy one came. */
class Watch {
  readonly quietMs: number[] = []
  noisy = 0

  see({ subject, data }: NatsMessage): void {
    if (subject === 'load.noisy') this.noisy++
    else this.quietMs.push(performance.now() - Number(Buffer.from(data).toString()))
  }
}

/** Sends for so long; answers how many messages of quiet tenants. */
async function send({ sender }: Scene): Promise<number> {
  const startMs = performance.now()
  let quiet = 0
  let noisy = 0
  while (performance.now() - startMs < SECONDS * 1_000) {
    const elapsedS = (performance.now() - startMs) / 1_000
    for (; noisy < elapsedS * NOISY_PER_SECOND; noisy++) {
      sender.publish('load.noisy', Buffer.from(String(performance.now())))
    }
    for (; quiet < elapsedS * QUIET_PER_SECOND; quiet++) {
      for (let tenant = 0; tenant < 9; tenant++) {
        sender.publish(`load.quiet-${tenant}`, Buffer.from(String(performance.now())))
      }
    }
    await new Promise(resolve => setTimeout(resolve, 2))
  }
  return quiet * 9
}

describe.each(GENERATIONS)('ten tenants behind $name', generation => {
  it('get their rate each; a noisy one delays nobody but itself', async () => {
    await using scene = await Scene.open(generation, server)
    // Beside it one without limits, so that a busy machine slows both down.
    await using other = await Scene.open(generation, server)
    const bare = new Watch()
    other.nc.subscribe('load.>', { callback: (_error, message) => bare.see(message) })
    const limits = scene.limit(
      natsGate(limit({ name: 'tenant', rate: `${RATE}/s burst 10`, per: 'topic', exceeded: 'throttle' })),
      { maxHeldPerSender: 10_000 },
    )
    const limited = new Watch()
    limits.subscribe(scene.nc, 'load.>', { callback: message => limited.see(message) })
    await scene.nc.flush()
    await other.nc.flush()
    const quiet = await send(scene)
    const { noisy } = limited
    await until(() => limited.quietMs.length === quiet && bare.quietMs.length === quiet)
    // Below two milliseconds there is only the noise of timers.
    expect(p99(limited.quietMs)).toBeLessThanOrEqual(2 * Math.max(2, p99(bare.quietMs)))
    const expected = RATE * SECONDS
    expect(noisy).toBeGreaterThanOrEqual(expected * 0.95)
    expect(noisy).toBeLessThanOrEqual(expected * 1.05)
    expect(limits.stats()).toMatchObject({ dropped: 0, overflowed: 0 })
  })
})
