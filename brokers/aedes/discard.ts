import type { Aedes } from 'aedes'
import type { PacketLike } from './message.ts'

/** Packets that are to be acknowledged like any other, and then go nowhere or elsewhere. */
export interface Discards {
  /** Nothing is published in its place. */
  mark(packet: object): void
  /** `other` is published in its place. */
  replace(packet: object, other: PacketLike): void
  detach(): void
}

/** A packet carries its mark: a property that is not there is found out in no time, a WeakSet takes some 30 ns. */
const MARK: unique symbol = Symbol('topicgate.instead')
const NOTHING = 'nothing'
interface Marked {
  [MARK]?: PacketLike | typeof NOTHING | undefined
}

function isLesser(instead: PacketLike, packet: Partial<PacketLike>): boolean {
  return (instead.qos ?? 0) < (packet.qos ?? 0)
}

type Published = (error?: Error | null) => void
type Publish = (packet: object, client: unknown, done?: unknown) => void

/**
 * Teaches a broker to publish something else, or nothing: `broker.publish` of a marked packet. aedes acknowledges the
 * packet that came, by its own QoS (QoS 2 is stored and released as usual); of one that is discarded nothing is
 * retained, queued, delivered or told. Not acknowledging is no choice: on MQTT 3.1.1 the client would wait for ever
 * [MQTT-4.3.2-2].
 */
export function discardMarked(broker: Aedes): Discards {
  const before = broker.publish as unknown as Publish
  const own = Object.hasOwn(broker, 'publish')
  const publish: Publish = (packet, client, done) => {
    const instead = (packet as Marked)[MARK]
    if (instead === undefined) {
      // Calls made with two arguments pass `undefined` on, which aedes takes as absent.
      before.call(broker, packet, client, done)
      return
    }
    // What is sent again, as a packet of QoS 2, is a new object.
    ;(packet as Marked)[MARK] = undefined
    if (instead !== NOTHING) {
      // aedes takes for a duplicate what one of a lower QoS, which takes fewer steps, has overtaken: it would be lost.
      if (isLesser(instead, packet)) setImmediate(() => before.call(broker, instead, client, done))
      else before.call(broker, instead, client, done)
      return
    }
    const published = typeof client === 'function' ? client : done
    if (typeof published === 'function') (published as Published)(null)
  }
  const slot = broker as unknown as { publish?: Publish }
  slot.publish = publish
  return {
    mark: packet => {
      ;(packet as Marked)[MARK] = NOTHING
    },
    replace: (packet, other) => {
      ;(packet as Marked)[MARK] = other
    },
    detach: () => {
      if (slot.publish !== publish) return
      if (own) slot.publish = before
      else delete slot.publish
    },
  }
}
