import type { Decision } from '../../src/core/decision.ts'
import type { Sender } from '../../src/core/message.ts'
import { EarlyDecision, MAX_WHOLE_MESSAGE_BYTES } from '../../src/gateway/early-decision.ts'
import { PASS, type PacketVerdict, SKIP, STOP } from '../../src/gateway/packet-walker.ts'
import { passesAtOnce } from '../../src/gateway/pass-or-hold.ts'
import { TopicDecoder } from '../../src/gateway/topic-decoder.ts'
import type { Guard, SenderQueue, SenderQueueHooks } from '../../src/guard/guard.ts'
import { degradeMessage } from '../../src/outcomes/degrade.ts'
import { redirectHeaders, redirectTopic } from '../../src/outcomes/redirect.ts'
import type { ConnectionState } from './connection-state.ts'
import { OrderedAcks } from './ordered-acks.ts'
import { PacketIds } from './packet-ids.ts'
import { PACKET, type Qos, REASON } from './packet-types.ts'
import { PublishLayout, PublishPacket } from './publish-packet.ts'
import { TopicAliases } from './topic-aliases.ts'
import { encodeAck, encodeRefusedAck, encodeUserProperties } from './write-packets.ts'

export interface ClientPublishesOptions {
  /** Messages of QoS 1 and 2 that the broker may have unacknowledged. */
  readonly window: number
  /** Highest topic alias that the broker accepts; 0 for none. */
  readonly topicAliasMaximum: number
  /** True if the broker has kept a session, and so may hold unfinished messages of QoS 2. */
  readonly isSessionPresent: boolean
}

/** A message that the broker may not get yet, because its window is full. */
interface WaitingPublish {
  readonly packet: Buffer
  readonly qos: Qos
  readonly id: number
}

/** Publishes of one client: their decisions, the answers to them, and the window of the broker. */
export class ClientPublishes {
  readonly #connection: ConnectionState
  /** Fields of the connection that each message needs. */
  readonly #isV5: boolean
  readonly #sender: Sender
  readonly #guard: Guard
  readonly #queue: SenderQueue
  readonly #layout = new PublishLayout()
  readonly #topics = new TopicDecoder()
  readonly #aliases: TopicAliases | undefined
  readonly #window: number
  /** Ids of forwarded messages that the broker has not acknowledged. */
  readonly #inFlight = new Set<number>()
  /** Those of QoS 2 with a PUBREC of the broker, and without a PUBREL. */
  readonly #receivedIds = new Set<number>()
  /** Ids of QoS 2 whose PUBREL the gateway has sent to the broker, until their PUBCOMP. */
  readonly #releasedIds = new Set<number>()
  readonly #orderedAcks: OrderedAcks
  #waiting: WaitingPublish[] = []
  /** Ids of QoS 2 whose PUBREC the gateway has sent: it answers their PUBREL. */
  readonly #answeredIds = new PacketIds()
  /** Ids of QoS 2 that were forwarded at QoS 1. */
  readonly #downgradedIds = new PacketIds()
  readonly #isSessionPresent: boolean
  #acceptsQos0Only = false
  readonly #early: EarlyDecision
  /** Called when no message is held or unacknowledged. */
  onIdle: (() => void) | undefined

  constructor(connection: ConnectionState, queue: SenderQueue, options: ClientPublishesOptions) {
    this.#connection = connection
    this.#isV5 = connection.isV5
    this.#sender = connection.sender
    this.#guard = connection.context.guard
    this.#queue = queue
    this.#early = new EarlyDecision(connection.context.gate, this.#guard, queue)
    this.#window = options.window
    this.#orderedAcks = new OrderedAcks(isFull => {
      if (isFull) connection.toBroker.block('answers')
      else connection.toBroker.unblock('answers')
    })
    this.#aliases = options.topicAliasMaximum > 0 ? new TopicAliases(options.topicAliasMaximum) : undefined
    this.#isSessionPresent = options.isSessionPresent
  }

  /** True if no message waits or is unacknowledged. */
  get isIdle(): boolean {
    return this.#queue.pending === 0 && this.isAcknowledged
  }

  /** True if the broker has acknowledged all messages that were released to it. */
  get isAcknowledged(): boolean {
    return this.#inFlight.size === 0 && this.#waiting.length === 0
  }

  decidePacket(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    const isWhole = bytes.length >= end
    const sizeBytes = end - start
    if (!isWhole && !this.#early.canDecide(sizeBytes)) return sizeBytes
    const layout = this.#layout
    const read = layout.read(bytes, start, body, end, this.#isV5)
    if (read !== true) {
      if (read !== false) return read
      this.#connection.onProblem('malformed')
      return STOP
    }
    const { qos, id } = layout
    if (this.#acceptsQos0Only && qos > 0) return SKIP
    if (this.#waiting.length > 0 || (qos > 0 && this.#isFull(id))) {
      this.#connection.toBroker.block('window')
      this.releaseIfStuck()
      return STOP
    }
    if (qos === 2 && this.#answeredIds.has(id)) {
      this.#connection.answer(encodeAck(PACKET.pubrec, id), REASON.success)
      return SKIP
    }
    let topic = this.#topics.decode(bytes, layout.topicStart, layout.topicEnd)
    let alias: number | undefined
    if (this.#aliases !== undefined && layout.hasProperties) {
      alias = layout.readTopicAlias(bytes)
      if (alias !== undefined) {
        if (topic !== '') this.#aliases.set(alias, topic)
        else topic = this.#aliases.topicOf(alias) ?? ''
      }
    }
    if (topic === '') return this.#refuseWithoutTopic(bytes)
    const message = new PublishPacket('publish', this.#sender, topic, bytes, start, end, layout, this.#isV5)
    if (!isWhole) return this.#decideEarly(message, alias, sizeBytes)
    const early = sizeBytes > MAX_WHOLE_MESSAGE_BYTES ? this.#early.takePendingDecision() : undefined
    return passesAtOnce(message, this.#guard, this.#queue, this.#enact, early)
      ? this.#pass(message, alias)
      : SKIP
  }

  /** Decides about an incomplete message; see {@link EarlyDecision}. */
  #decideEarly(message: PublishPacket, alias: number | undefined, sizeBytes: number): PacketVerdict {
    const decision = this.#early.decide(message, !this.#needsTopic(alias))
    if (decision === undefined) return sizeBytes
    if (decision.outcome === 'deliver') return this.#pass(message, alias)
    this.#enact(decision, message)
    return SKIP
  }

  /** Ends the connection, as brokers do: the topic, and so the rules, of the current packet are unknown [MQTT-4.7.3-1]. */
  #refuseWithoutTopic(bytes: Buffer): PacketVerdict {
    const alias = this.#isV5 && this.#layout.hasProperties ? this.#layout.readTopicAlias(bytes) : undefined
    const isInvalid = alias !== undefined && (alias === 0 || alias > (this.#aliases?.maximum ?? 0))
    this.#connection.onProtocolError(isInvalid ? REASON.topicAliasInvalid : REASON.protocolError)
    return STOP
  }

  /** Returns true if the current packet has to be sent with a topic that it lacks. */
  #needsTopic(alias: number | undefined): boolean {
    return (
      alias !== undefined &&
      this.#layout.topicEnd === this.#layout.topicStart &&
      this.#aliases?.isKnownToReceiver(alias) === false
    )
  }

  /** Handles a PUBREL. Returns true if it must not go to the broker. */
  handlePubrel(id: number): boolean {
    this.#receivedIds.delete(id)
    // The gateway has sent this PUBREL already. The broker's PUBCOMP goes to the client when it arrives.
    if (this.#releasedIds.delete(id)) return true
    if (!this.#answeredIds.delete(id)) return false
    this.#connection.answer(encodeAck(PACKET.pubcomp, id), REASON.success)
    return true
  }

  /**
   * Handles a PUBACK, PUBREC or PUBCOMP of the broker. Returns true if the gateway has answered the client in another
   * way.
   */
  handleBrokerAck(type: number, id: number, reasonCode: number): boolean {
    const isRefused = reasonCode >= REASON.unspecified
    if (type !== PACKET.pubcomp) this.#orderedAcks.onAck(id)
    if (type === PACKET.pubrec && !isRefused) {
      this.#receivedIds.add(id)
      this.releaseIfStuck()
      return false
    }
    if (type === PACKET.pubcomp) this.#receivedIds.delete(id)
    const isReleased = type === PACKET.pubcomp && this.#releasedIds.delete(id)
    if (isReleased) this.#answeredIds.add(id)
    const isDowngraded = type === PACKET.puback && this.#downgradedIds.delete(id)
    if (isDowngraded) {
      const connection = this.#connection
      if (isRefused) {
        const packet = encodeRefusedAck(PACKET.pubrec, id, reasonCode, undefined, connection.clientMaxBytes)
        connection.answer(packet, reasonCode)
      } else this.#answerPubrec(id)
    }
    if (this.#inFlight.delete(id)) this.#sendWaiting()
    return isDowngraded || isReleased
  }

  /**
   * Sends PUBRELs to the broker for the client while its window is full and no more is read of the client. Why: the
   * client's own PUBRELs, which make room in the window, may be behind the messages that wait for that room.
   */
  releaseIfStuck(): void {
    const { toBroker } = this.#connection
    if (!toBroker.isBlockedBy('window') || !toBroker.isReadAheadFull) return
    for (const id of this.#receivedIds) {
      this.#releasedIds.add(id)
      toBroker.insert(encodeAck(PACKET.pubrel, id))
    }
    this.#receivedIds.clear()
  }

  /**
   * Lets held messages of QoS 0 pass in their turn when the connection ends. Those of QoS 1 and 2 are discarded, and later
   * ones skipped: their exchanges cannot be finished, and the client sends them again. `hooks` are those of the queue.
   */
  keepOnlyQos0(hooks: SenderQueueHooks): void {
    this.#acceptsQos0Only = true
    this.#queue.detach(({ qos }) => qos === 0)
    this.#queue.attach(hooks)
    this.#inFlight.clear()
    this.#receivedIds.clear()
    this.#orderedAcks.clear()
    this.#waiting = this.#waiting.filter(({ qos }) => qos === 0)
    this.#sendWaiting()
  }

  /** Discards held messages. */
  close(): void {
    this.#queue.detach()
    this.#waiting = []
    this.#inFlight.clear()
  }

  #isFull(id: number): boolean {
    return this.#inFlight.size >= this.#window && !this.#inFlight.has(id)
  }

  /** Passes the current packet as it came, or with its topic if the broker does not know its alias. */
  #pass(message: PublishPacket, alias: number | undefined): PacketVerdict {
    if (message.qos > 0) {
      this.#inFlight.add(message.id)
      this.#orderedAcks.expectAck(message.id)
    }
    if (alias === undefined || this.#aliases === undefined || this.#aliases.isKnownToReceiver(alias))
      return PASS
    this.#aliases.markKnownToReceiver(alias)
    if (this.#layout.topicEnd > this.#layout.topicStart) return PASS
    this.#connection.context.countRewrite(PACKET.publish)
    this.#connection.toBroker.insert(message.encodeWithTopic())
    return SKIP
  }

  readonly #enact = (decision: Decision, message: PublishPacket): void => {
    message.isEnacted = true
    const { isClosing, context } = this.#connection
    if (isClosing) {
      if (decision.allowed) context.gate.forgetPayload(message)
      return
    }
    if (decision.outcome === 'deliver') this.#send(message.encode(), message.qos, message.id)
    else if (decision.outcome === 'degrade') this.#degrade(decision, message)
    else this.#refuse(decision, message)
    this.#reportIdle()
  }

  #degrade(decision: Decision, message: PublishPacket): void {
    const { context, isV5 } = this.#connection
    const plan = context.gate.ruleOf(decision.rule)?.exceeded.degrade
    const { id } = message
    if (plan === undefined) {
      this.#send(message.encode(), message.qos, id)
      return
    }
    context.counters.degraded++
    context.countRewrite(PACKET.publish)
    const { payload, retain, qos, headers } = degradeMessage(plan, message, decision)
    const added = isV5 ? encodeUserProperties(headers) : undefined
    const packet = message.encodeAs({ payload, retain, qos, added })
    if (qos === 1 && message.qos === 2) this.#downgradedIds.add(id)
    this.#send(packet, qos, id)
    if (qos === 0) this.#acknowledge(message)
  }

  #refuse(decision: Decision, message: PublishPacket): void {
    const connection = this.#connection
    const { context } = connection
    const { counters } = context
    // A message superseded by a newer one is not a refusal.
    if (decision.reason === 'superseded') {
      this.#acknowledge(message)
      return
    }
    context.refusals.recordRefusal(message, decision)
    const isResent = message.qos === 2 && message.duplicate && this.#isSessionPresent
    if (isResent && decision.outcome !== 'disconnect') {
      // The broker may hold this message of an earlier connection. Then the PUBREL, which it gets, releases it.
      counters.dropped++
      this.#orderedAcks.send(() => connection.answer(encodeAck(PACKET.pubrec, message.id), REASON.success))
      return
    }
    switch (decision.outcome) {
      case 'disconnect':
        connection.disconnect(decision)
        return
      case 'redirect':
        if (this.#redirect(decision, message)) return
        break
      case 'reject':
        if (!connection.isV5 || message.qos === 0) break
        counters.rejected++
        this.#reject(decision, message)
        return
      case 'drop':
        break
      default:
        counters.unsupported++
    }
    counters.dropped++
    this.#acknowledge(message)
  }

  /** Sends a message to another topic. Returns false if it must be dropped. */
  #redirect(decision: Decision, message: PublishPacket): boolean {
    const { context, isV5 } = this.#connection
    const ruleInfo = context.gate.ruleOf(decision.rule)
    const plan = ruleInfo?.exceeded.redirect
    if (plan === undefined) {
      context.counters.unsupported++
      return false
    }
    const topic = redirectTopic(plan, message, decision, ruleInfo?.capturesOf(message.topic))
    if (topic === undefined) return false
    context.counters.redirected++
    context.countRewrite(PACKET.publish)
    const added = isV5 ? encodeUserProperties(redirectHeaders(plan, message, decision)) : undefined
    this.#send(message.encodeAs({ topic, retain: false, added }), message.qos, message.id)
    return true
  }

  /** Answers with a reason code, which ends the exchange also at QoS 2. */
  #reject(decision: Decision, { qos, id }: PublishPacket): void {
    const connection = this.#connection
    const type = qos === 1 ? PACKET.puback : PACKET.pubrec
    const code = REASON.quotaExceeded
    const explanation = connection.explain(decision)
    const packet = encodeRefusedAck(type, id, code, explanation, connection.clientMaxBytes)
    this.#orderedAcks.send(() => connection.answer(packet, code))
  }

  #acknowledge({ qos, id }: PublishPacket): void {
    if (qos === 1)
      this.#orderedAcks.send(() => this.#connection.answer(encodeAck(PACKET.puback, id), REASON.success))
    else if (qos === 2) this.#orderedAcks.send(() => this.#answerPubrec(id))
  }

  #answerPubrec(id: number): void {
    this.#answeredIds.add(id)
    this.#connection.answer(encodeAck(PACKET.pubrec, id), REASON.success)
  }

  /** Sends a message to the broker, or lets it wait for room in the broker's window. */
  #send(packet: Buffer, qos: Qos, id: number): void {
    const { toBroker } = this.#connection
    if (qos > 0) this.#orderedAcks.expectAck(id)
    if (this.#waiting.length > 0 || (qos > 0 && this.#isFull(id))) {
      this.#waiting.push({ packet, qos, id })
      toBroker.block('window')
      this.releaseIfStuck()
      return
    }
    if (qos > 0) this.#inFlight.add(id)
    toBroker.insert(packet)
  }

  #sendWaiting(): void {
    while (this.#waiting.length > 0) {
      const { packet, qos, id } = this.#waiting[0]!
      if (qos > 0 && this.#isFull(id)) return
      this.#waiting.shift()
      if (qos > 0) this.#inFlight.add(id)
      this.#connection.toBroker.insert(packet)
    }
    this.#connection.toBroker.unblock('window')
    this.#reportIdle()
  }

  #reportIdle(): void {
    if (this.onIdle !== undefined && this.isAcknowledged) this.onIdle()
  }
}
