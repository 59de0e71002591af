import type { Verdict } from '../../algorithms/limit-types.ts'
import { type Clock, callIfLate, startAwaitedTimer, systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import type { LimitHistories } from '../persistence/limit-history-for-migration.ts'
import { isConnectionLostError } from './handshake-timeout.ts'
import { notConnected, type RedisClient } from './redis-client-types.ts'
import type { Scripts } from './script.ts'
import { buildScriptArgs, REFUND, type ScriptArgs, type ScriptStep } from './script-args.ts'
import { ServerClockOffset } from './server-clock-offset.ts'

const DONE = 0
const LATE = 1
const OUTSIDE = 2

/** Maximum rounds of a call: reading the time, loading the script, sending other quota windows. */
const ROUNDS = 4

/** Milliseconds by which a timer of Node may fire early, with rounding to whole milliseconds. */
const TIMER_MARGIN_MS = 2

/** Verdicts of each step of one call, in order; empty for a refund. */
export type ScriptResult = readonly (readonly Verdict[])[]

/**
 * Runs calls to Redis, one for several steps. Every call carries a deadline by the server's clock and does nothing
 * after it, so an abandoned call never takes effect later.
 */
export class ScriptRunner {
  readonly #client: RedisClient
  readonly #scripts: Scripts
  readonly #timeoutMs: number
  readonly #graceMs: number
  readonly #histories: LimitHistories
  readonly #clock: Clock = systemClock
  /** Clocks by server; forgotten when a call fails, because another server may have replaced it. */
  readonly #times = new Map<string, ServerClockOffset>()
  /** Time of each server's last answer. */
  readonly #answeredAtMs = new Map<string, number>()
  /** Time at which a late call last dropped each server's connection. */
  readonly #droppedAtMs = new Map<string, number>()

  constructor(
    client: RedisClient,
    scripts: Scripts,
    histories: LimitHistories,
    timeoutMs: number,
    graceMs: number,
  ) {
    this.#client = client
    this.#histories = histories
    this.#scripts = scripts
    this.#timeoutMs = timeoutMs
    this.#graceMs = graceMs
  }

  /**
   * Rejects with StoreError: not connected, no answer until `deadlineMs` of the local clock, or an error from Redis.
   */
  async run(slot: number, steps: readonly ScriptStep[], deadlineMs: number): Promise<ScriptResult> {
    const waitMs = deadlineMs - this.#clock.now()
    if (waitMs <= 0) throw this.#lateError()
    if (!this.#client.isReady()) throw notConnected(this.#client)
    return new Promise((resolve, reject) => {
      const askedMs = this.#clock.now()
      const cancel = callIfLate(this.#clock, waitMs, () => {
        reject(this.#lateError())
        const server = this.#client.serverOf(slot)
        if ((this.#answeredAtMs.get(server) ?? 0) > askedMs) return
        // A connection silent for this long may be dead and would fail every command sent on it.
        this.#forget(server)
        this.#droppedAtMs.set(server, this.#clock.now())
        this.#client.drop(slot)
      })
      this.#runRounds(slot, steps, deadlineMs).then(
        answer => {
          cancel()
          resolve(answer)
        },
        (cause: unknown) => {
          cancel()
          const server = this.#client.serverOf(slot)
          const error = this.#toStoreError(slot, cause)
          // A late call has dropped the connection. The server may still run this call until its own deadline.
          const isDropped = (this.#droppedAtMs.get(server) ?? 0) >= askedMs
          const restMs = isDropped ? deadlineMs - this.#clock.now() : 0
          if (restMs > 0) startAwaitedTimer(this.#clock, restMs, () => reject(error))
          else reject(error)
        },
      )
    })
  }

  /** Learns the server's time ahead of the first call, which then takes one round trip. Never rejects. */
  async learnTime(): Promise<void> {
    if (this.#client.isCluster || this.#timeOf(0).isKnown) return
    const sentMs = this.#clock.now()
    try {
      const [master] = await this.#client.masters()
      if (master === undefined) return
      const [seconds, micros] = ((await master.call('TIME')) as readonly unknown[]).map(Number)
      this.#timeOf(0).learn(sentMs, this.#clock.now(), seconds! * 1_000 + Math.floor(micros! / 1_000))
    } catch {
      // The first call learns it.
    }
  }

  /** Clock of the server, the first one of a cluster, minus that of this process; undefined while it is unknown. */
  get clockOffsetMs(): number | undefined {
    const time = this.#timeOf(0)
    return time.isKnown ? time.likeliest(0) : undefined
  }

  /** Returns the shortest recent time from a call to its answer. */
  roundTripMs(slot: number): number {
    return this.#timeOf(slot).roundTripMs
  }

  async #runRounds(slot: number, steps: readonly ScriptStep[], deadlineMs: number): Promise<ScriptResult> {
    for (let round = 0; round < ROUNDS; round++) {
      const time = this.#timeOf(slot)
      const sentMs = this.#clock.now()
      const nowMs = steps[0]?.nowMs ?? sentMs
      const call = buildScriptArgs(
        steps,
        {
          // A little less, because a call must not run in the millisecond in which it is rejected.
          deadlineMs: time.earliest(deadlineMs - TIMER_MARGIN_MS),
          aroundMs: time.likeliest(sentMs),
          graceMs: this.#graceMs,
        },
        { nowMs, historyOf: limit => this.#histories.of(limit, nowMs) },
      )
      const [status, serverMs, ...numbers] = (await this.#send(slot, call)).map(Number)
      time.learn(sentMs, this.#clock.now(), serverMs!)
      if (status === DONE) return readVerdicts(steps, numbers)
      if (status !== LATE && status !== OUTSIDE)
        throw new StoreError(`redis: unexpected reply status ${status}`)
      if (this.#clock.now() >= deadlineMs) break
    }
    throw this.#lateError()
  }

  async #send(slot: number, { keys, text, hasCustoms }: ScriptArgs): Promise<readonly unknown[]> {
    const script = this.#scripts.of(hasCustoms)
    const server = this.#client.serverOf(slot)
    let reply: unknown
    try {
      reply = await this.#client.evalsha(script.sha, keys, [text])
      this.#answeredAtMs.set(server, this.#clock.now())
    } catch (error) {
      if (isAnswer(error)) this.#answeredAtMs.set(server, this.#clock.now())
      if (!messageOf(error).startsWith('NOSCRIPT')) throw error
      // EVAL also loads the script, on the very server that lacks it.
      reply = await this.#client.eval(script.text, keys, [text])
      this.#answeredAtMs.set(server, this.#clock.now())
    }
    if (!Array.isArray(reply)) throw new StoreError('redis: unexpected reply, not a list')
    return reply
  }

  #forget(server: string): void {
    this.#times.delete(server)
    this.#answeredAtMs.delete(server)
  }

  #timeOf(slot: number): ServerClockOffset {
    const server = this.#client.serverOf(slot)
    let time = this.#times.get(server)
    if (time === undefined) {
      // Servers change; a Cluster has at most a few thousand.
      time = new ServerClockOffset()
      this.#times.set(server, time)
    }
    return time
  }

  #lateError(): StoreError {
    return new StoreError(`redis: no answer within ${this.#timeoutMs} ms`)
  }

  #toStoreError(slot: number, cause: unknown): StoreError {
    if (cause instanceof StoreError) return cause
    const message = messageOf(cause)
    if (!isAnswer(cause)) this.#forget(this.#client.serverOf(slot))
    if (isConnectionLostError(message)) return notConnected(this.#client)
    // The server has become a replica; only a new connection finds the master.
    if (message.startsWith('READONLY')) this.#client.drop(slot)
    return new StoreError(`redis: ${message.split('\n')[0]!.slice(0, 300)}`, { cause })
  }
}

/** Returns true if an error is a server's answer, such as `OOM command not allowed`, not a connection error. */
function isAnswer(error: unknown): boolean {
  return /^[A-Z]+ /.test(messageOf(error))
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function readVerdicts(steps: readonly ScriptStep[], numbers: readonly number[]): ScriptResult {
  let at = 0
  return steps.map(({ kind, charges }) => {
    if (kind === REFUND) return []
    return charges.map(() => {
      const remaining = numbers[at]!
      const wait = numbers[at + 1]!
      const reset = numbers[at + 2]!
      at += 3
      return {
        allowed: wait === 0,
        remaining,
        retryAfterMs: wait < 0 ? Infinity : wait,
        resetMs: reset < 0 ? Infinity : reset,
      }
    })
  })
}
