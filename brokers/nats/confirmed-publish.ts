import type { Decision } from '../../src/core/decision.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import { type RedirectPlan, redirectHeaders, redirectTopic } from '../../src/outcomes/redirect.ts'
import type { JetStreamMessage, NatsMessage } from './client.ts'
import { ownBytes } from './client-internals.ts'
import type { NatsContext } from './context.ts'
import type { Delivery } from './delivery.ts'
import { makeHeaders } from './headers.ts'
import { idOf } from './keep-alive.ts'

/** What became of a copy: it is safe, there is nowhere to send it, or nobody can tell. */
export type Copied = 'sent' | 'nowhere' | 'failed'

/** An answer longer than this is none of a stream's. */
const LONGEST_ACK_BYTES = 65_536

/**
 * Copies of JetStream messages for where they are redirected, and for the dead letters. Their originals are answered once a
 * copy is safe: a stream answers what it has stored with its name (ADR-21, `PubAck`), and one it has stored already, by
 * `Nats-Msg-Id`, as well. At most `BOUNDS.copiesUnderWay` wait for that; further ones fail.
 */
export class ConfirmedPublishes {
  readonly #context: NatsContext
  #underWay = 0

  constructor(context: NatsContext) {
    this.#context = context
  }

  /** Sends a copy; `done` is told once, at once or within so long, what became of it. Never throws. */
  send(
    plan: RedirectPlan | undefined,
    decision: Decision,
    delivery: Delivery,
    withinMs: number,
    done: (copied: Copied) => void,
  ): void {
    let copied: Copied | (() => Promise<NatsMessage>)
    try {
      copied = this.#start(plan, decision, delivery, withinMs)
    } catch (cause) {
      this.#context.errorLog.note('publish', cause)
      copied = 'failed'
    }
    if (typeof copied === 'string') done(copied)
    else void this.#confirm(copied, delivery).then(done)
  }

  /** Publishes it, or says how to ask for it to be stored. */
  #start(
    plan: RedirectPlan | undefined,
    decision: Decision,
    delivery: Delivery,
    withinMs: number,
  ): Copied | (() => Promise<NatsMessage>) {
    const { settings, publisher, gate } = this.#context
    const facts = decision.rule === undefined ? undefined : gate.ruleOf(decision.rule)
    const to = plan && redirectTopic(plan, delivery, decision, facts?.capturesOf(delivery.topic))
    if (plan === undefined || to === undefined) return 'nowhere'
    const confirms = settings.confirm && publisher?.request !== undefined
    const told = {
      ...redirectHeaders(plan, delivery, decision),
      ...(decision.reason === 'ok' ? { 'topicgate-reason': 'handler_failed' } : {}),
      // What was stored unheard of is not stored again.
      ...(confirms ? { 'Nats-Msg-Id': `${idOf(delivery.source as JetStreamMessage)} ${to}` } : {}),
    }
    const headers = makeHeaders(settings.headers, told, delivery.source)
    const options = headers === undefined ? {} : { headers }
    const { data } = delivery.source
    if (!confirms) return this.#context.publish(publisher, to, data, options) ? 'sent' : 'failed'
    return () => publisher.request!(to, data, { timeout: withinMs, ...options })
  }

  async #confirm(ask: () => Promise<NatsMessage>, delivery: Delivery): Promise<Copied> {
    if (this.#underWay >= MAX_SIZES.copiesUnderWay) return 'failed'
    this.#underWay++
    this.#context.began()
    try {
      ownBytes(delivery.source)
      assertStored(await ask())
      return 'sent'
    } catch (cause) {
      this.#context.errorLog.note('publish', cause)
      return 'failed'
    } finally {
      this.#underWay--
      this.#context.ended()
    }
  }
}

/** Throws for an answer that is no stream's, or one that says why nothing was stored. */
function assertStored({ data }: NatsMessage): void {
  const text = data.length > LONGEST_ACK_BYTES ? '' : Buffer.from(data).toString()
  const answer = JSON.parse(text || '{}') as { stream?: unknown; error?: { description?: unknown } } | null
  if (typeof answer?.stream === 'string' && answer.stream !== '' && answer.error === undefined) return
  throw new Error(
    `not stored: ${String(answer?.error?.description ?? 'no stream has answered').slice(0, 200)}`,
  )
}
