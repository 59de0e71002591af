import type { Decision } from '../../src/core/decision.ts'
import { PASS, type PacketVerdict, SKIP, STOP } from '../../src/gateway/packet-walker.ts'
import { passesAtOnce } from '../../src/gateway/pass-or-hold.ts'
import { TopicDecoder } from '../../src/gateway/topic-decoder.ts'
import type { SenderQueue } from '../../src/guard/guard.ts'
import type { ConnectionState } from './connection-state.ts'
import { LineTokens } from './line-tokens.ts'
import { LINE_END_BYTES, MessageLayout, PublishMessage } from './publish-message.ts'

/** Tokens of `MSG subject sid size`. */
const MSG_TOKENS = 4

/** Messages from the server to one client. */
export class ClientDeliveries {
  readonly #connection: ConnectionState
  readonly #queue: SenderQueue
  readonly #tokens = new LineTokens()
  readonly #layout = new MessageLayout()
  readonly #subjects = new TopicDecoder()

  constructor(connection: ConnectionState, queue: SenderQueue) {
    this.#connection = connection
    this.#queue = queue
  }

  decideDelivery(
    bytes: Buffer,
    start: number,
    body: number,
    end: number,
    hasHeaders: boolean,
  ): PacketVerdict {
    const connection = this.#connection
    const { context, subscriptionTable } = connection
    const isLimited = context.limitsDeliveries || this.#queue.pending > 0
    if (!isLimited && !subscriptionTable.hasMaximums) return PASS
    const tokens = this.#tokens
    const layout = this.#layout
    tokens.read(bytes, start, body)
    if (!layout.read(bytes, tokens, MSG_TOKENS, hasHeaders, end - body - LINE_END_BYTES)) {
      connection.onProblem('malformed')
      return STOP
    }
    const subject = this.#subjects.decode(bytes, layout.subjectStart, layout.subjectEnd)
    const isExempt = !isLimited || context.exempt.has(subject)
    if (!isExempt && bytes.length < end) return end - start
    if (subscriptionTable.hasMaximums) subscriptionTable.countDelivery(tokens.textOf(bytes, 2))
    if (isExempt) return PASS
    const message = new PublishMessage('deliver', connection.sender, subject, bytes, start, body, end, layout)
    return passesAtOnce(message, context.guard, this.#queue, this.#enact) ? PASS : SKIP
  }

  close(): void {
    this.#queue.detach()
  }

  readonly #enact = (decision: Decision, message: PublishMessage): void => {
    message.isEnacted = true
    const connection = this.#connection
    const { context } = connection
    if (connection.isClosing) return
    if (decision.outcome === 'deliver') {
      connection.toClient.insert(message.encode())
      return
    }
    if (decision.reason === 'superseded') return
    context.refusals.recordRefusal(message, decision)
    context.counters.deliveriesRefused++
    if (decision.outcome === 'disconnect') connection.disconnect(decision)
  }
}
