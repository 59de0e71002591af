import type { Aedes, Client } from 'aedes'
import { brokerInternals, type Publish, type Published } from './aedes-internals.ts'
import type { PacketLike } from './message.ts'
import { publishInOrder } from './qos2-publish-order.ts'
import type { ResourceCounter } from './resource-counter.ts'

/** Called when aedes has published a message, or could not, and has acknowledged it unless it was deferred. */
type Acknowledged = Published

/** Decides about a packet that is about to be published: calls `publish` to allow it, or `published` with an error. */
export type DecideOnPublish = (client: Client, publish: () => void, published: Published) => void

/** Instructions for packets that aedes is about to acknowledge and publish. */
export interface PublishInterceptor {
  /** Publishes nothing in the packet's place. Calls `acknowledged` after aedes has written the acknowledgement. */
  discard(packet: object, acknowledged?: Acknowledged): void
  /** Publishes `replacement` in the packet's place. */
  replace(packet: object, replacement: PacketLike, acknowledged?: Acknowledged): void
  /** Publishes the packet unchanged. */
  publishUnchanged(packet: object, acknowledged: Acknowledged): void
  /** Calls `decide` if aedes publishes the packet after all. */
  decideOnPublish(packet: object, decide: DecideOnPublish): void
  detach(): void
}

interface Instruction {
  readonly kind: 'publish' | 'discard' | 'replace' | 'decide'
  readonly replacement?: PacketLike | undefined
  readonly decide?: DecideOnPublish | undefined
  readonly acknowledged?: Acknowledged | undefined
}

/** Key of a packet's instruction. Why: an absent property costs almost nothing, a WeakSet lookup some 30 ns. */
const INSTRUCTION: unique symbol = Symbol('topicgate.instruction')
const DISCARD: Instruction = Object.freeze({ kind: 'discard' })
interface Instructed {
  [INSTRUCTION]?: Instruction | undefined
}

function hasLowerQos(replacement: PacketLike, packet: Partial<PacketLike>): boolean {
  return (replacement.qos ?? 0) < (packet.qos ?? 0)
}

/** Key of the QoS of a packet whose acknowledgement aedes must not write. */
const DEFERRED_QOS: unique symbol = Symbol('topicgate.deferredQos')
interface Deferred {
  qos: 0 | 1 | 2
  [DEFERRED_QOS]?: 1 | undefined
}

/** Prevents aedes from acknowledging a packet of QoS 1 before it is published: it sees QoS 0 until then. */
export function deferPuback(packet: PacketLike): void {
  const deferred = packet as Deferred
  deferred[DEFERRED_QOS] = 1
  deferred.qos = 0
}

/**
 * Wraps `broker.publish` to publish another packet, or none, for packets with an instruction. aedes acknowledges the
 * original packet by its own QoS (QoS 2 is stored and released as usual). A discarded packet is not retained, queued,
 * delivered or reported. It is acknowledged because an MQTT 3.1.1 client would otherwise wait for ever [MQTT-4.3.2-2].
 */
export function interceptPublishes(broker: Aedes, resources: ResourceCounter): PublishInterceptor {
  const internals = brokerInternals(broker)
  const originalPublish = internals.publish!
  const isOwnProperty = Object.hasOwn(broker, 'publish')
  /** Publishes a packet; a retained one only if the limits have room for it. */
  const publishNow: Publish = (packet, client, done) => {
    if ((packet as Partial<PacketLike>).retain !== true) {
      originalPublish.call(broker, packet, client, done)
      return
    }
    const isWithoutClient = typeof client === 'function'
    const published = (isWithoutClient ? client : done) as Published | undefined
    const publisher = isWithoutClient ? undefined : client
    // aedes adds the publisher after the persistence has stored the packet.
    if (publisher) (packet as { clientId?: string }).clientId = (publisher as Client).id
    resources.publishRetained(
      packet as PacketLike,
      publisher,
      error => published?.(error),
      stored => originalPublish.call(broker, packet, publisher ?? null, stored),
    )
  }
  const publish: Publish = (packet, client, done) => {
    const instruction = (packet as Instructed)[INSTRUCTION]
    if (instruction === undefined) {
      // Calls with two arguments pass `undefined` on, which aedes treats as absent.
      publishNow(packet, client, done)
      return
    }
    // A QoS 2 packet that is resent is a new object.
    ;(packet as Instructed)[INSTRUCTION] = undefined
    const deferred = packet as Deferred
    if (deferred[DEFERRED_QOS] !== undefined) deferred.qos = deferred[DEFERRED_QOS]
    const published = (typeof client === 'function' ? client : done) as Published | undefined
    applyInstruction(instruction, packet, client, published)
  }

  function applyInstruction(
    { kind, replacement, decide, acknowledged }: Instruction,
    packet: object,
    client: unknown,
    published: Published | undefined,
  ): void {
    const done: Published = error => {
      published?.(error)
      acknowledged?.(error)
    }
    if (kind === 'decide') {
      decide!(client as Client, () => publish(packet, client, done), done)
    } else if (kind === 'discard') {
      done(null)
    } else if ((packet as Partial<PacketLike>).qos === 2 && typeof client === 'object' && client !== null) {
      const isLowered = replacement !== undefined && hasLowerQos(replacement, packet)
      publishInOrder(client, isLowered, ready => publishNow(replacement ?? packet, client, ready), done)
    } else if (replacement !== undefined && hasLowerQos(replacement, packet)) {
      // aedes treats a message as a duplicate if one of a lower QoS, which takes fewer steps, has overtaken it.
      setImmediate(() => publishNow(replacement, client, done))
    } else {
      publishNow(replacement ?? packet, client, done)
    }
  }

  internals.publish = publish
  const instruct = (packet: object, instruction: Instruction): void => {
    ;(packet as Instructed)[INSTRUCTION] = instruction
  }
  return {
    discard: (packet, acknowledged) =>
      instruct(packet, acknowledged === undefined ? DISCARD : { kind: 'discard', acknowledged }),
    replace: (packet, replacement, acknowledged) =>
      instruct(packet, { kind: 'replace', replacement, acknowledged }),
    publishUnchanged: (packet, acknowledged) => instruct(packet, { kind: 'publish', acknowledged }),
    decideOnPublish: (packet, decide) => instruct(packet, { kind: 'decide', decide }),
    detach: () => {
      if (internals.publish !== publish) return
      if (isOwnProperty) internals.publish = originalPublish
      else delete internals.publish
    },
  }
}
