import type { Decision } from '../../src/core/decision.ts'
import { EarlyDecision, MAX_WHOLE_MESSAGE_BYTES } from '../../src/gateway/early-decision.ts'
import { PASS, type PacketVerdict, SKIP, STOP } from '../../src/gateway/packet-walker.ts'
import { passesAtOnce } from '../../src/gateway/pass-or-hold.ts'
import { TopicDecoder } from '../../src/gateway/topic-decoder.ts'
import type { SenderQueue } from '../../src/guard/guard.ts'
import { degradeMessage } from '../../src/outcomes/degrade.ts'
import { natsRefusalHeaders, TOO_MANY_REQUESTS } from '../../src/outcomes/nats-refusal.ts'
import { redirectHeaders, redirectTopic } from '../../src/outcomes/redirect.ts'
import { refusalText } from '../../src/outcomes/refusal-text.ts'
import type { ConnectionState } from './connection-state.ts'
import { type ControlLine, PUB_BYTES } from './control-line.ts'
import { LineTokens } from './line-tokens.ts'
import { OPERATION } from './operations.ts'
import { LINE_END_BYTES, MessageLayout, PublishMessage } from './publish-message.ts'
import { encodeDelivery, encodeError } from './write-lines.ts'

/** Tokens of `PUB subject size`. */
const PUB_TOKENS = 3

const NO_HEADERS: Readonly<Record<string, string>> = {}

/** Publishes of one client: their decisions, and the answers to them. */
export class ClientPublishes {
  readonly #connection: ConnectionState
  readonly #queue: SenderQueue
  readonly #early: EarlyDecision
  readonly #tokens = new LineTokens()
  readonly #layout = new MessageLayout()
  readonly #subjects = new TopicDecoder()
  /** Subject of the last message, and whether it is exempt. */
  #subject = ''
  #isExempt = false

  constructor(connection: ConnectionState, queue: SenderQueue) {
    this.#connection = connection
    this.#queue = queue
    const { gate, guard } = connection.context
    this.#early = new EarlyDecision(gate, guard, queue)
  }

  /** Decides about a PUB or HPUB, whose `line` was just read. */
  decidePublish(line: ControlLine, bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    const connection = this.#connection
    const layout = this.#layout
    if (end - body - LINE_END_BYTES > connection.maxPayloadBytes) {
      connection.onProblem('too large')
      return STOP
    }
    if (!this.#readLayout(line, bytes, start, body, end)) {
      connection.onProblem('malformed')
      return STOP
    }
    const { context } = connection
    if (!line.isSameSubject) this.#decodeSubject(line, bytes, start)
    const subject = this.#subject
    if (this.#isExempt) {
      const reply = this.#decodeReply(bytes)
      if (context.exempt.allowsReply(subject, reply)) return PASS
      this.#refuseReply(reply)
      return SKIP
    }
    const sizeBytes = end - start
    const isWhole = bytes.length >= end
    if (!isWhole) {
      if (!this.#early.canDecide(sizeBytes)) return sizeBytes
      const headersEnd = body + layout.headerBytes
      if (bytes.length < headersEnd) return headersEnd - start
    }
    const message = new PublishMessage('publish', connection.sender, subject, bytes, start, body, end, layout)
    if (!isWhole) return this.#decideEarly(message, sizeBytes)
    const early = sizeBytes > MAX_WHOLE_MESSAGE_BYTES ? this.#early.takePendingDecision() : undefined
    return passesAtOnce(message, context.guard, this.#queue, this.#enact, early) ? PASS : SKIP
  }

  /** Decides about an incomplete message; see {@link EarlyDecision}. */
  #decideEarly(message: PublishMessage, sizeBytes: number): PacketVerdict {
    const decision = this.#early.decide(message, true)
    if (decision === undefined) return sizeBytes
    if (decision.outcome === 'deliver') return PASS
    this.#enact(decision, message)
    return SKIP
  }

  /** Returns true if a publish goes before held ones. */
  isUrgent(line: ControlLine, bytes: Buffer, start: number, body: number, end: number): boolean {
    const { maxPayloadBytes, context } = this.#connection
    if (end - body - LINE_END_BYTES > maxPayloadBytes) return false
    if (!this.#readLayout(line, bytes, start, body, end)) return false
    const { subjectStart, subjectEnd } = this.#layout
    const subject = this.#subjects.decode(bytes, subjectStart, subjectEnd)
    return context.exempt.isUrgent(subject) && context.exempt.allowsReply(subject, this.#decodeReply(bytes))
  }

  #decodeReply(bytes: Buffer): string {
    const { replyStart, replyEnd } = this.#layout
    return replyEnd === 0 ? '' : bytes.toString('utf8', replyStart, replyEnd)
  }

  /** Refuses a request as nats-server does if a client may not publish to the reply subject. */
  #refuseReply(reply: string): void {
    const { context, toClient } = this.#connection
    context.counters.dropped++
    toClient.insert(encodeError(`Permissions Violation for Publish with Reply of "${reply}"`))
  }

  #decodeSubject(line: ControlLine, bytes: Buffer, start: number): void {
    const { subjectStart, subjectEnd } = this.#layout
    if (line.isPlainPub) {
      this.#subject = bytes.toString('utf8', subjectStart, subjectEnd)
      line.rememberSubject(bytes, start)
    } else {
      this.#subject = this.#subjects.decode(bytes, subjectStart, subjectEnd)
      line.forgetSubject()
    }
    this.#isExempt = this.#connection.context.exempt.has(this.#subject)
  }

  #readLayout(line: ControlLine, bytes: Buffer, start: number, body: number, end: number): boolean {
    if (line.isPlainPub) {
      this.#layout.setPlainPub(start + PUB_BYTES, line.subjectEnd)
      return true
    }
    const hasHeaders = line.operation === OPERATION.hpub
    this.#tokens.read(bytes, start, body)
    return this.#layout.read(bytes, this.#tokens, PUB_TOKENS, hasHeaders, end - body - LINE_END_BYTES)
  }

  readonly #enact = (decision: Decision, message: PublishMessage): void => {
    message.isEnacted = true
    const { isClosing, context, toBroker } = this.#connection
    if (isClosing) {
      if (decision.allowed) context.gate.forgetPayload(message)
      return
    }
    if (decision.outcome === 'deliver') toBroker.insert(message.encode())
    else if (decision.outcome === 'degrade') this.#degrade(decision, message)
    else this.#refuse(decision, message)
  }

  #degrade(decision: Decision, message: PublishMessage): void {
    const { context, hasHeaders, toBroker } = this.#connection
    const plan = context.gate.ruleOf(decision.rule)?.exceeded.degrade
    if (plan === undefined) {
      toBroker.insert(message.encode())
      return
    }
    context.counters.degraded++
    const { payload, headers } = degradeMessage(plan, message, decision)
    toBroker.insert(message.encodeAs({ payload, added: hasHeaders ? headers : NO_HEADERS }))
  }

  #refuse(decision: Decision, message: PublishMessage): void {
    const connection = this.#connection
    const { context } = connection
    // A message superseded by a newer one is not a refusal.
    if (decision.reason !== 'superseded') context.refusals.recordRefusal(message, decision)
    switch (decision.outcome) {
      case 'disconnect':
        connection.disconnect(decision)
        return
      case 'redirect':
        if (this.#redirect(decision, message)) return
        break
      case 'reject':
      case 'drop':
        break
      default:
        if (decision.reason !== 'superseded') context.counters.unsupported++
    }
    connection.confirm()
    if (this.#reply(decision, message)) context.counters.rejected++
    else if (decision.reason !== 'superseded') context.counters.dropped++
  }

  /** Sends a message to another subject. Returns false if it must be dropped. */
  #redirect(decision: Decision, message: PublishMessage): boolean {
    const { context, hasHeaders, toBroker } = this.#connection
    const ruleInfo = context.gate.ruleOf(decision.rule)
    const plan = ruleInfo?.exceeded.redirect
    if (plan?.dialect !== 'nats') {
      context.counters.unsupported++
      return false
    }
    const subject = redirectTopic(plan, message, decision, ruleInfo?.capturesOf(message.topic))
    if (subject === undefined) return false
    context.counters.redirected++
    const added = hasHeaders ? redirectHeaders(plan, message, decision) : NO_HEADERS
    toBroker.insert(message.encodeAs({ subject, added }))
    return true
  }

  /**
   * Answers a refused request, so that `request()` and a JetStream publish fail at once. Returns false if this connection
   * does not subscribe to its reply subject.
   */
  #reply(decision: Decision, message: PublishMessage): boolean {
    const connection = this.#connection
    const { gate } = connection.context
    const { reply } = message
    if (reply === '') return false
    const answer = connection.subscriptionTable.answer(reply)
    if (answer === undefined) return false
    const ruleInfo = gate.ruleOf(decision.rule)
    const headers = connection.hasHeaders
      ? natsRefusalHeaders(decision, ruleInfo, refusalText(decision, connection.sender, ruleInfo))
      : undefined
    connection.toClient.insert(encodeDelivery(reply, answer.sid, headers, TOO_MANY_REQUESTS))
    if (answer.maximum !== undefined) connection.unsubscribe(answer.sid, answer.maximum)
    return true
  }
}
