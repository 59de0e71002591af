import type { Aedes } from 'aedes'

/** Packets that are to be acknowledged like any other and then go nowhere. */
export interface Discards {
  mark(packet: object): void
  detach(): void
}

/** A packet carries its mark: a property that is not there is found out in no time, a WeakSet takes some 30 ns. */
const MARK: unique symbol = Symbol('topicgate.discard')
interface Marked {
  [MARK]?: boolean
}

type Published = (error?: Error | null) => void
type Publish = (packet: Marked, client: unknown, done?: unknown) => void

/**
 * Teaches a broker to discard: `broker.publish` of a marked packet is done at once, so aedes acknowledges it at any
 * QoS (QoS 2 is stored and released as usual) and nothing is retained, queued, delivered or told. Not acknowledging
 * is no choice: on MQTT 3.1.1 the client would wait for ever [MQTT-4.3.2-2].
 */
export function discardMarked(broker: Aedes): Discards {
  const before = broker.publish as unknown as Publish
  const own = Object.hasOwn(broker, 'publish')
  const publish: Publish = (packet, client, done) => {
    if (packet[MARK] !== true) {
      // Calls made with two arguments pass `undefined` on, which aedes takes as absent.
      before.call(broker, packet, client, done)
      return
    }
    packet[MARK] = false
    const published = typeof client === 'function' ? client : done
    if (typeof published === 'function') (published as Published)(null)
  }
  const slot = broker as unknown as { publish?: Publish }
  slot.publish = publish
  return {
    mark: packet => {
      ;(packet as Marked)[MARK] = true
    },
    detach: () => {
      if (slot.publish !== publish) return
      if (own) slot.publish = before
      else delete slot.publish
    },
  }
}
