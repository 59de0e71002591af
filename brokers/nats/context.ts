import { afterAwaited } from '../../src/core/clock.ts'
import type { Decision } from '../../src/core/decision.ts'
import type { Logger } from '../../src/core/logger.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import { pickOptions } from '../../src/core/option-names.ts'
import { GUARD_OPTIONS, Guard, type GuardOptions } from '../../src/guard/guard.ts'
import { RefusalLog } from '../../src/guard/refusal-log.ts'
import { RetrySlots } from '../../src/guard/retry-slots.ts'
import type { Gate } from '../../src/index.ts'
import type { NatsHeaders, NatsMessage, NatsPublishTarget } from './client.ts'
import { warnOfMissingInternals } from './client-internals.ts'
import { ConfirmedPublishes } from './confirmed-publish.ts'
import type { Delivery } from './delivery.ts'
import { ErrorLog } from './error-log.ts'
import { completeSettings, type LimitNatsOptions, type Settings } from './options.ts'
import { IdentifiedSenders } from './sender-cache.ts'
import { isSystem } from './subject-cache.ts'
import type { MessageSource } from './subscription.ts'

/** What was done with messages since the limiter was made. */
export interface MessageCounters {
  /** Messages taken from subscriptions and consumers. */
  received: number
  /** Given to a handler. */
  delivered: number
  /** Of core NATS, could have passed and found neither a handler nor room to wait for one; also dropped or refused. */
  slow: number
  /** Discarded, on JetStream acknowledged. */
  dropped: number
  /** Requests answered with 429. */
  refused: number
  redirected: number
  /** Sent back to JetStream, to be delivered again. */
  sentBack: number
  /** Given up on JetStream: `term`, and dead letters. */
  terminated: number
  /** Redirects and dead letters of JetStream that nobody has confirmed; their originals were sent back. */
  unconfirmed: number
  /** Deliveries by JetStream of messages that it had delivered before. */
  redelivered: number
  /** Handlers that threw or rejected. */
  handlerErrors: number
  /** Times a consumer was deleted, missed, silent or refused. */
  consumerProblems: number
  /** Refused with an outcome NATS cannot enact there, and dropped instead. */
  unsupported: number
}

/** All that one limiter shares: gate, guard, senders, counts, what is held and what is handled. */
export class NatsContext {
  readonly gate: Gate
  readonly guard: Guard
  readonly settings: Settings
  readonly senders: IdentifiedSenders
  readonly refusals: RefusalLog
  readonly logger: Logger
  readonly errorLog: ErrorLog
  readonly retrySlots: RetrySlots
  readonly publisher: NatsPublishTarget | undefined
  readonly confirmedPublishes: ConfirmedPublishes
  /** What waits for a decision or for its time, of all courses. */
  readonly held = new Set<Delivery>()
  /** Where messages come from. */
  readonly sources = new Set<MessageSource>()
  readonly counters: MessageCounters = {
    received: 0,
    delivered: 0,
    slow: 0,
    dropped: 0,
    refused: 0,
    redirected: 0,
    sentBack: 0,
    terminated: 0,
    unconfirmed: 0,
    redelivered: 0,
    handlerErrors: 0,
    consumerProblems: 0,
    unsupported: 0,
  }
  /** Handlers that have not answered yet, and copies that are not confirmed yet. */
  handling = 0
  /** Nothing more is taken. */
  draining = false
  /** Whether any rule sends messages back. */
  retries = false
  #namedSystem: ReadonlySet<string> = new Set()
  #hasWarned = false
  readonly #idle = new Set<() => void>()

  constructor(gate: Gate, options: LimitNatsOptions) {
    this.gate = gate
    this.settings = completeSettings(options)
    const logger = options.logger ?? gate.logger
    this.logger = logger
    this.guard = new Guard(gate, {
      ...pickOptions(options as GuardOptions, GUARD_OPTIONS),
      holds: 'all',
      logger,
    })
    this.errorLog = new ErrorLog(logger, this.guard.clock)
    this.refusals = new RefusalLog(logger, this.guard.clock, message => gate.senderOf(message))
    this.senders = new IdentifiedSenders(options.identify, cause => this.errorLog.note('identify', cause))
    this.publisher = options.connection
    this.confirmedPublishes = new ConfirmedPublishes(this)
    this.retrySlots = new RetrySlots(gate, message => this.askOnce(message as Delivery), this.guard.clock)
    this.look()
  }

  /** Looks up what of the policy in force decides how messages are taken. */
  look(): void {
    this.retries = this.gate.outcomes('publish').has('retry')
    const patterns = this.gate.rules().map(rule => this.gate.ruleOf(rule)?.pattern ?? '')
    this.#namedSystem = new Set(patterns.filter(isSystem).map(firstToken))
  }

  /** Logs once if the client of a message lacks fields that are used and not public. */
  checkClient(message: NatsMessage): void {
    this.#hasWarned ||= warnOfMissingInternals(message, this.logger)
  }

  /** The decision made already, or the gate's. */
  askOnce(delivery: Delivery): MaybePromise<Decision> {
    return delivery.takeDecision() ?? this.guard.ask(delivery)
  }

  /** Of a subject of the server's own: that no rule names such. */
  isLeftOut(topic: string): boolean {
    return !this.#namedSystem.has(firstToken(topic))
  }

  /** Publishes over the user's connection; false where there is none or it fails. Never throws. */
  publish(
    over: NatsPublishTarget | undefined,
    subject: string,
    data: Uint8Array,
    options: { headers?: NatsHeaders; reply?: string },
  ): boolean {
    if (over === undefined) return false
    try {
      over.publish(subject, data, options)
      return true
    } catch (cause) {
      this.errorLog.note('publish', cause)
      return false
    }
  }

  began(): void {
    this.handling++
  }

  ended(): void {
    if (--this.handling === 0) for (const tell of this.#idle) tell()
  }

  /** Resolves once no handler is at work, or after so long. */
  idle(timeoutMs: number): Promise<void> {
    if (this.handling === 0) return Promise.resolve()
    return new Promise(resolve => {
      const done = (): void => {
        cancel()
        this.#idle.delete(done)
        resolve()
      }
      const cancel = afterAwaited(this.guard.clock, timeoutMs, done)
      this.#idle.add(done)
    })
  }
}

function firstToken(topic: string): string {
  const end = topic.indexOf('.')
  return end < 0 ? topic : topic.slice(0, end)
}
