import { ErrorLog } from '../../src/broker-support/error-log.ts'
import type { Decision } from '../../src/core/decision.ts'
import type { Logger } from '../../src/core/logger.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import { pickOptions } from '../../src/core/option-names.ts'
import type { Gate } from '../../src/gate/gate.ts'
import { GUARD_OPTIONS, Guard, type GuardOptions } from '../../src/guard/guard.ts'
import { RedeliverySlotScheduler } from '../../src/guard/redelivery-slots.ts'
import { RefusalLog } from '../../src/guard/refusal-log.ts'
import { warnMissingMessageInternals } from './client-internals.ts'
import type { NatsMessage, NatsPublishTarget } from './client-types.ts'
import { ConfirmedCopyPublisher } from './confirmed-publish.ts'
import type { ReceivedMessage } from './message.ts'
import { NatsMessageSenderCache } from './message-sender-cache.ts'
import type { MessageSource } from './message-source.ts'
import { completeSettings, type LimitNatsOptions, type NatsLimiterSettings } from './options.ts'
import { PendingWork } from './pending-work.ts'
import { isServerSubject } from './subject-cache.ts'

/** Counts of messages since the limiter was created. */
export interface MessageCounters {
  /** Messages received from subscriptions and consumers. */
  received: number
  /** Messages passed to a handler. */
  delivered: number
  /** Passed messages of core NATS without a free handler or room to wait; also counted as dropped or refused. */
  slow: number
  /** Discarded messages; on JetStream they are acknowledged. */
  dropped: number
  /** Requests answered with 429. */
  refused: number
  redirected: number
  /** Messages sent back to JetStream to be delivered again. */
  sentBack: number
  /** Messages terminated on JetStream, including dead letters. */
  terminated: number
  /** Redirects and dead letters of JetStream without a confirmation. Their originals were sent back. */
  unconfirmed: number
  /** Repeated deliveries by JetStream. */
  redelivered: number
  /** Handlers that threw or rejected. */
  handlerErrors: number
  /** Number of times a consumer was deleted, missing, silent or refused. */
  consumerProblems: number
  /** Messages dropped because NATS cannot enact their outcome there. */
  unsupported: number
}

/** Shared state of one limiter: gate, guard, senders, counts and held messages. */
export class LimiterContext {
  readonly gate: Gate
  readonly guard: Guard
  readonly settings: NatsLimiterSettings
  readonly senders: NatsMessageSenderCache
  readonly refusals: RefusalLog
  readonly logger: Logger
  readonly errorLog: ErrorLog
  readonly redeliverySlots: RedeliverySlotScheduler
  readonly publisher: NatsPublishTarget | undefined
  readonly pendingWork: PendingWork
  readonly confirmedPublishes: ConfirmedCopyPublisher
  /** Messages of all processors that wait for a decision or for their time. */
  readonly held = new Set<ReceivedMessage>()
  /** Sources of messages. */
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
  /** True if no more messages are accepted. */
  isDraining = false
  /** True if a rule sends messages back. */
  hasRetryRules = false
  #limitedServerTokens: ReadonlySet<string> = new Set()
  #hasWarnedOfInternals = false

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
    this.errorLog = new ErrorLog(this.guard.clock, logger)
    this.refusals = new RefusalLog(logger, this.guard.clock, message => gate.senderOf(message))
    this.senders = new NatsMessageSenderCache(options.identify, cause =>
      this.errorLog.logError('identify threw, the sender is unknown', cause),
    )
    this.publisher = options.connection
    this.pendingWork = new PendingWork(this.guard.clock)
    this.confirmedPublishes = new ConfirmedCopyPublisher(
      gate,
      this.settings,
      this.publisher,
      this.errorLog,
      this.pendingWork,
    )
    this.redeliverySlots = new RedeliverySlotScheduler(
      gate,
      message => this.askOnce(message as ReceivedMessage),
      this.guard.clock,
    )
    this.updateFromPolicy()
  }

  /** Updates the state that depends on the policy. */
  updateFromPolicy(): void {
    this.hasRetryRules = this.gate.outcomes('publish').has('retry')
    const patterns = this.gate.rules().map(rule => this.gate.ruleOf(rule)?.pattern ?? '')
    this.#limitedServerTokens = new Set(patterns.filter(isServerSubject).map(firstToken))
  }

  /** Logs once if the client of a message lacks internal fields that topicgate uses. */
  checkClient(message: NatsMessage): void {
    this.#hasWarnedOfInternals ||= warnMissingMessageInternals(message, this.logger)
  }

  /** Returns the decision already made, or asks the gate. */
  askOnce(message: ReceivedMessage): MaybePromise<Decision> {
    return message.takeDecision() ?? this.guard.ask(message)
  }

  /** Returns true if no rule has a pattern that begins with the first token of a server subject. */
  isUnlimitedServerSubject(topic: string): boolean {
    return !this.#limitedServerTokens.has(firstToken(topic))
  }
}

function firstToken(topic: string): string {
  const end = topic.indexOf('.')
  return end < 0 ? topic : topic.slice(0, end)
}
