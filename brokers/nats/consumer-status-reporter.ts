import type { ConsumerMessages } from './client-types.ts'
import type { LimiterContext } from './limiter-context.ts'

/** Status of a consumer as the client reports it, such as `consumer_deleted` or `heartbeats_missed`. */
export interface ConsumerStatus {
  readonly type: string
  readonly consumer: string
  /** The client's error or details, if there are any. */
  readonly detail?: unknown
}

/** Statuses that mean that no messages arrive, with their descriptions. */
const PROBLEMS: Readonly<Record<string, string>> = {
  consumer_deleted: 'the consumer was deleted',
  consumer_not_found: 'the consumer does not exist',
  stream_not_found: 'the stream does not exist',
  heartbeats_missed: 'the server sends no heartbeats: the consumer or its leader is gone',
  no_responders: 'no server answers for the consumer: it or its leader is gone',
  exceeded_limits: 'the consumer has exceeded a limit of the server',
  consumer_unpinned: 'another client of the priority group gets the messages',
  ended: 'the consumer gives no more messages',
}

/** Reports the status of a consumer to `NatsLimiter.stats()`, to the caller, and to the log, once per kind until messages arrive again. */
export class ConsumerStatusReporter {
  /** Latest problem, or undefined while messages arrive. */
  problem: string | undefined
  readonly name: string
  readonly #limiter: LimiterContext
  readonly #onStatus: ((status: ConsumerStatus) => void) | undefined
  readonly #reported = new Set<string>()

  constructor(
    limiter: LimiterContext,
    name: string,
    onStatus: ((status: ConsumerStatus) => void) | undefined,
  ) {
    this.#limiter = limiter
    this.name = name
    this.#onStatus = onStatus
  }

  /** Reports the statuses of a consumer's messages until they end. Never rejects. */
  async follow(messages: ConsumerMessages<unknown>): Promise<void> {
    try {
      // A promise in version 2.
      const statuses = await messages.status?.()
      for await (const { type, ...rest } of statuses ?? [])
        this.reportStatus(type, 'data' in rest ? rest.data : rest)
    } catch {
      // The messages have ended, which `closed` reports.
    }
  }

  /** Reports a status. Statuses that are not a problem only go to the caller. */
  reportStatus(type: string, detail?: unknown): void {
    if (type === 'heartbeat' && this.problem !== undefined) this.recover()
    const problem = Object.hasOwn(PROBLEMS, type) ? PROBLEMS[type] : undefined
    if (problem !== undefined) {
      this.problem = problem
      this.#limiter.counters.consumerProblems++
      if (!this.#reported.has(type)) {
        this.#reported.add(type)
        const err = detail instanceof Error ? { err: detail } : { detail }
        this.#limiter.logger.warn({ consumer: this.name, status: type, ...err }, `${this.name}: ${problem}`)
      }
    }
    try {
      this.#onStatus?.({ type, consumer: this.name, detail })
    } catch (cause) {
      this.#limiter.errorLog.logError('onStatus threw', cause)
    }
  }

  /** Clears the problem when messages arrive again. */
  recover(): void {
    this.problem = undefined
    this.#reported.clear()
    this.#limiter.logger.info({ consumer: this.name }, `${this.name}: delivers messages again`)
  }
}

/** Returns the status for an error of a pull. */
export function statusOfError(error: Error): string {
  if (isConsumerMissingError(error)) return 'consumer_not_found'
  return /heartbeats missed/i.test(error.message) ? 'heartbeats_missed' : 'no_responders'
}

/** Returns true if an error means that a consumer or its stream does not exist, in either client generation. */
export function isConsumerMissingError(error: unknown): boolean {
  const { message, code } = Object(error) as { readonly message?: unknown; readonly code?: unknown }
  return (
    code === 404 || code === '404' || /consumer (deleted|not found)|stream not found/i.test(String(message))
  )
}
