import type { ConsumerMessages } from './client.ts'
import type { NatsContext } from './context.ts'

/** What happened to a consumer, as the client reports it: `consumer_deleted`, `heartbeats_missed` and so on. */
export interface ConsumerStatus {
  readonly type: string
  readonly consumer: string
  /** The client's own error or details, if there are any. */
  readonly detail?: unknown
}

/** Kinds of status that say that no messages come, and what they mean. */
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

/** Reports what becomes of a consumer: to the log once for each kind until messages come again, to the caller, and to `stats()`. */
export class ConsumerWatch {
  /** The latest problem; undefined while messages come. */
  problem: string | undefined
  readonly name: string
  readonly #context: NatsContext
  readonly #onStatus: ((status: ConsumerStatus) => void) | undefined
  readonly #reported = new Set<string>()

  constructor(context: NatsContext, name: string, onStatus: ((status: ConsumerStatus) => void) | undefined) {
    this.#context = context
    this.name = name
    this.#onStatus = onStatus
  }

  /** Follows the statuses of what a consumer gives, until that ends. Never rejects. */
  async follow(messages: ConsumerMessages<unknown>): Promise<void> {
    try {
      // A promise of them in version 2.
      const statuses = await messages.status?.()
      for await (const { type, ...rest } of statuses ?? [])
        this.report(type, 'data' in rest ? rest.data : rest)
    } catch {
      // The messages have ended, which `closed` reports.
    }
  }

  /** Takes note of a status; those that are no problem are only given to the caller. */
  report(type: string, detail?: unknown): void {
    if (type === 'heartbeat' && this.problem !== undefined) this.recover()
    const problem = Object.hasOwn(PROBLEMS, type) ? PROBLEMS[type] : undefined
    if (problem !== undefined) {
      this.problem = problem
      this.#context.counters.consumerProblems++
      if (!this.#reported.has(type)) {
        this.#reported.add(type)
        const err = detail instanceof Error ? { err: detail } : { detail }
        this.#context.logger.warn({ consumer: this.name, status: type, ...err }, `${this.name}: ${problem}`)
      }
    }
    try {
      this.#onStatus?.({ type, consumer: this.name, ...(detail !== undefined && { detail }) })
    } catch (cause) {
      this.#context.errorLog.note('handler', cause)
    }
  }

  /** The consumer is there again. */
  recover(): void {
    this.problem = undefined
    this.#reported.clear()
    this.#context.logger.info({ consumer: this.name }, `${this.name}: is there again`)
  }
}

/** The status that an error of a pull amounts to. */
export function statusOf(error: Error): string {
  if (isMissing(error)) return 'consumer_not_found'
  return /heartbeats missed/i.test(error.message) ? 'heartbeats_missed' : 'no_responders'
}

/** Whether an error says that a consumer or its stream is not there, in either generation of the client. */
export function isMissing(error: unknown): boolean {
  const { message, code } = Object(error) as { readonly message?: unknown; readonly code?: unknown }
  return (
    code === 404 || code === '404' || /consumer (deleted|not found)|stream not found/i.test(String(message))
  )
}
