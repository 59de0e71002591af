import type { Decision } from '../../src/core/decision.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import { type RedirectPlan, redirectHeaders, redirectTopic } from '../../src/outcomes/redirect.ts'
import { messageIdOf } from './ack-wait-extender.ts'
import { copyBytes } from './client-internals.ts'
import type { JetStreamMessage, NatsMessage } from './client-types.ts'
import { extendHeaders } from './headers.ts'
import type { LimiterState } from './limiter-state.ts'
import type { ReceivedMessage } from './message.ts'

/** Result of publishing a copy: stored or sent, no target, or not confirmed. */
export type CopyResult = 'sent' | 'nowhere' | 'failed'

/** Longest answer of a stream. */
const LONGEST_ACK_BYTES = 65_536

/**
 * Publishes redirected copies and dead letters of JetStream messages. The original is answered when the copy is safe: the
 * stream answers with its name (ADR-21, `PubAck`), also for a `Nats-Msg-Id` that it has stored before. At most
 * `MAX_SIZES.pendingCopies` copies wait for an answer; further ones fail.
 */
export class ConfirmedPublishes {
  readonly #limiter: LimiterState
  #pending = 0

  constructor(limiter: LimiterState) {
    this.#limiter = limiter
  }

  /** Publishes a copy and calls `done` once with the result, at the latest after `withinMs`. Never throws. */
  send(
    plan: RedirectPlan | undefined,
    decision: Decision,
    message: ReceivedMessage,
    withinMs: number,
    done: (result: CopyResult) => void,
  ): void {
    let result: CopyResult | (() => Promise<NatsMessage>)
    try {
      result = this.#publishOrPrepare(plan, decision, message, withinMs)
    } catch (cause) {
      this.#limiter.errorLog.logError('publish', cause)
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
  ): CopyResult | (() => Promise<NatsMessage>) {
    const { settings, publisher, gate } = this.#limiter
    const ruleInfo = decision.rule === undefined ? undefined : gate.ruleOf(decision.rule)
    const to = plan && redirectTopic(plan, message, decision, ruleInfo?.capturesOf(message.topic))
    if (plan === undefined || to === undefined) return 'nowhere'
    const isConfirmed = settings.confirm && publisher?.request !== undefined
    const fields = {
      ...redirectHeaders(plan, message, decision),
      ...(decision.reason === 'ok' ? { 'topicgate-reason': 'handler_failed' } : {}),
      // The id keeps a copy from being stored twice if its answer was lost.
      ...(isConfirmed ? { 'Nats-Msg-Id': `${messageIdOf(message.source as JetStreamMessage)} ${to}` } : {}),
    }
    const headers = extendHeaders(settings.headers, fields, message.source)
    const options = headers === undefined ? {} : { headers }
    const { data } = message.source
    if (!isConfirmed) return this.#limiter.publish(publisher, to, data, options) ? 'sent' : 'failed'
    return () => publisher.request!(to, data, { timeout: withinMs, ...options })
  }

  async #confirm(ask: () => Promise<NatsMessage>, message: ReceivedMessage): Promise<CopyResult> {
    if (this.#pending >= MAX_SIZES.pendingCopies) return 'failed'
    this.#pending++
    this.#limiter.handlerStarted()
    try {
      copyBytes(message.source)
      assertStored(await ask())
      return 'sent'
    } catch (cause) {
      this.#limiter.errorLog.logError('publish', cause)
      return 'failed'
    } finally {
      this.#pending--
      this.#limiter.handlerEnded()
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
