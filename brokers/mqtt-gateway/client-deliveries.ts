import type { Decision } from '../../src/core/decision.ts'
import { PASS, type PacketVerdict, SKIP, STOP } from '../../src/gateway/packet-walker.ts'
import { passesAtOnce } from '../../src/gateway/pass-or-hold.ts'
import { TopicDecoder } from '../../src/gateway/topic-decoder.ts'
import type { SenderQueue } from '../../src/guard/guard.ts'
import type { ConnectionState } from './connection-state.ts'
import { PacketIds } from './packet-ids.ts'
import { PACKET } from './packet-types.ts'
import { PublishLayout, PublishPacket } from './publish-packet.ts'
import { TopicAliases } from './topic-aliases.ts'
import { encodeAck } from './write-packets.ts'

/** Messages from the broker to one client. Refused ones are acknowledged to the broker by the gateway. */
export class ClientDeliveries {
  readonly #connection: ConnectionState
  readonly #queue: SenderQueue
  readonly #layout = new PublishLayout()
  readonly #topics = new TopicDecoder()
  readonly #aliases: TopicAliases | undefined
  /** Ids of QoS 2 whose PUBREC the gateway has sent to the broker. */
  readonly #answeredIds = new PacketIds()

  constructor(connection: ConnectionState, queue: SenderQueue, topicAliasMaximum: number) {
    this.#connection = connection
    this.#queue = queue
    this.#aliases = topicAliasMaximum > 0 ? new TopicAliases(topicAliasMaximum) : undefined
  }

  decidePacket(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    const connection = this.#connection
    const { context, isV5 } = connection
    const isLimited = context.limitsDeliveries || this.#queue.pending > 0
    if (!isLimited && this.#aliases === undefined) return PASS
    const layout = this.#layout
    const read = layout.read(bytes, start, body, end, isV5)
    if (read !== true) {
      if (read !== false) return read
      connection.onProblem('malformed')
      return STOP
    }
    const aliases = this.#aliases
    const alias = this.#readAlias(bytes)
    if (alias !== undefined && layout.topicEnd > layout.topicStart)
      aliases!.set(alias, this.#topics.decode(bytes, layout.topicStart, layout.topicEnd))
    const isAliasUnknown = alias !== undefined && !aliases!.isKnownToReceiver(alias)
    if (!isLimited && !isAliasUnknown) return PASS
    if (bytes.length < end) return end - start
    const topic =
      layout.topicEnd > layout.topicStart || alias === undefined
        ? this.#topics.decode(bytes, layout.topicStart, layout.topicEnd)
        : (aliases!.topicOf(alias) ?? '')
    const message = new PublishPacket('deliver', connection.sender, topic, bytes, start, end, layout, isV5)
    if (!isLimited) return this.#pass(message, alias)
    return passesAtOnce(message, context.guard, this.#queue, this.#enact) ? this.#pass(message, alias) : SKIP
  }

  /** Handles a PUBREL of the broker. Returns true if the gateway has answered it. */
  handlePubrel(id: number): boolean {
    if (!this.#answeredIds.delete(id)) return false
    this.#connection.toBroker.insert(encodeAck(PACKET.pubcomp, id))
    return true
  }

  close(): void {
    this.#queue.detach()
  }

  #readAlias(bytes: Buffer): number | undefined {
    return this.#aliases !== undefined && this.#layout.hasProperties
      ? this.#layout.readTopicAlias(bytes)
      : undefined
  }

  #pass(message: PublishPacket, alias: number | undefined): PacketVerdict {
    if (alias === undefined || this.#aliases!.isKnownToReceiver(alias)) return PASS
    this.#aliases!.markKnownToReceiver(alias)
    if (this.#layout.topicEnd > this.#layout.topicStart) return PASS
    this.#connection.context.countRewrite(PACKET.publish)
    this.#connection.toClient.insert(message.encodeWithTopic())
    return SKIP
  }

  readonly #enact = (decision: Decision, message: PublishPacket): void => {
    message.isEnacted = true
    const connection = this.#connection
    const { context } = connection
    if (connection.isClosing) return
    if (decision.outcome === 'deliver') {
      connection.toClient.insert(message.encode())
      return
    }
    if (decision.reason !== 'superseded') {
      context.refusals.recordRefusal(message, decision)
      context.counters.deliveriesRefused++
    }
    if (decision.outcome === 'disconnect') {
      connection.disconnect(decision)
      return
    }
    const { qos, id } = message
    if (qos === 1) connection.toBroker.insert(encodeAck(PACKET.puback, id))
    else if (qos === 2) {
      this.#answeredIds.add(id)
      connection.toBroker.insert(encodeAck(PACKET.pubrec, id))
    }
  }
}
