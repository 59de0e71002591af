import type { ErrorLog } from '../../src/broker-support/error-log.ts'
import type { Decision } from '../../src/core/decision.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Gate } from '../../src/gate/gate.ts'
import { type RedirectPlan, redirectHeaders, redirectTopic } from '../../src/outcomes/redirect.ts'
import { copyMessageBytes } from './client-internals.ts'
import type { JetStreamMessage, NatsMessage, NatsPublishTarget } from './client-types.ts'
import { extendHeaders } from './headers.ts'
import { jetStreamMessageKey, type ReceivedMessage } from './message.ts'
import type { NatsLimiterSettings } from './options.ts'
import type { PendingWork } from './pending-work.ts'

/** Result of publishing a copy: stored or sent, no target, or not confirmed. */
export type CopyPublishResult = 'sent' | 'nowhere' | 'failed'

/** Longest answer of a stream. */
const LONGEST_ACK_BYTES = 65_536

/**
 * Publishes redirected copies and dead letters of JetStream messages. The original is answered when the copy is safe: the
 * stream answers with its name (ADR-21, `PubAck`), also for a `Nats-Msg-Id` that it has stored before. At most
 * `MAX_SIZES.pendingCopies` copies wait for an answer; further ones fail.
 */
export class ConfirmedCopyPublisher {
  readonly #gate: Gate
  readonly #settings: NatsLimiterSettings
  readonly #publisher: NatsPublishTarget | undefined
  readonly #errorLog: ErrorLog
  readonly #pendingWork: PendingWork
  #pending = 0

  constructor(
    gate: Gate,
    settings: NatsLimiterSettings,
    publisher: NatsPublishTarget | undefined,
    errorLog: ErrorLog,
    pendingWork: PendingWork,
  ) {
    this.#gate = gate
    this.#settings = settings
    this.#publisher = publisher
    this.#errorLog = errorLog
    this.#pendingWork = pendingWork
  }

  /** Publishes a copy and calls `done` once with the result, at the latest after `withinMs`. Never throws. */
  send(
    plan: RedirectPlan | undefined,
    decision: Decision,
    message: ReceivedMessage,
    withinMs: number,
    done: (result: CopyPublishResult) => void,
  ): void {
    let result: CopyPublishResult | (() => Promise<NatsMessage>)
    try {
      result = this.#publishOrPrepare(plan, decision, message, withinMs)
    } catch (cause) {
      this.#errorLog.logError('a message could not be published', cause)
      result = 'failed'
    }
    if (typeof result === 'string') done(result)
    else void this.#confirm(result, message).then(done)
  }

  /** Publishes a copy without confirmation, or returns a function that publishes it with confirmation. */
  #publishOrPrepare(
    plan: RedirectPlan | undefined,
    decision: Decision,
    message: ReceivedMessage,
    withinMs: number,
  ): CopyPublishResult | (() => Promise<NatsMessage>) {
    const settings = this.#settings
    const publisher = this.#publisher
    const ruleInfo = decision.rule === undefined ? undefined : this.#gate.ruleOf(decision.rule)
    const to = plan && redirectTopic(plan, message, decision, ruleInfo?.capturesOf(message.topic))
    if (plan === undefined || to === undefined) return 'nowhere'
    const isConfirmed = settings.confirm && publisher?.request !== undefined
    const fields = {
      ...redirectHeaders(plan, message, decision),
      ...(decision.reason === 'ok' ? { 'topicgate-reason': 'handler_failed' } : {}),
      // The id keeps a copy from being stored twice if its answer was lost.
      ...(isConfirmed
        ? { 'Nats-Msg-Id': `${jetStreamMessageKey(message.source as JetStreamMessage)} ${to}` }
        : {}),
    }
    const headers = extendHeaders(settings.headers, fields, message.source)
    const { data } = message.source
    if (isConfirmed) return () => publisher.request!(to, data, { timeout: withinMs, headers })
    publisher?.publish(to, data, { headers })
    return publisher === undefined ? 'failed' : 'sent'
  }

  async #confirm(ask: () => Promise<NatsMessage>, message: ReceivedMessage): Promise<CopyPublishResult> {
    if (this.#pending >= MAX_SIZES.pendingCopies) return 'failed'
    this.#pending++
    this.#pendingWork.start()
    try {
      copyMessageBytes(message.source)
      assertStored(await ask())
      return 'sent'
    } catch (cause) {
      this.#errorLog.logError('a message could not be published', cause)
      return 'failed'
    } finally {
      this.#pending--
      this.#pendingWork.end()
    }
  }
}

/** Throws if an answer is not from a stream or reports an error. */
function assertStored({ data }: NatsMessage): void {
  const text = data.length > LONGEST_ACK_BYTES ? '' : Buffer.from(data).toString()
  const answer = JSON.parse(text || '{}') as { stream?: unknown; error?: { description?: unknown } } | null
  if (typeof answer?.stream === 'string' && answer.stream !== '' && answer.error === undefined) return
  throw new Error(
    `not stored: ${String(answer?.error?.description ?? 'no answer of a stream').slice(0, 200)}`,
  )
}
