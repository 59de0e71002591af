import type { Aedes, Client } from 'aedes'
import type { Holdings } from './holdings.ts'
import type { PacketLike } from './message.ts'

type Published = (error?: Error | null) => void

/** Decides about a packet that is about to be published: calls `publish` for yes, or `published` with an error. */
export type DecideLate = (client: Client, publish: () => void, published: Published) => void

/** Instructions for packets that aedes is about to acknowledge and publish. */
export interface Discards {
  /** Nothing is published in its place. `acknowledged` is called after aedes has written the acknowledgement. */
  mark(packet: object, acknowledged?: () => void): void
  /** `other` is published in its place. */
  replace(packet: object, other: PacketLike, acknowledged?: () => void): void
  /** The packet is published as it is. */
  watch(packet: object, acknowledged: () => void): void
  /** `decide` is called if aedes publishes the packet after all, in place of publishing it. */
  decideLate(packet: object, decide: DecideLate): void
  detach(): void
}

interface Instruction {
  readonly kind: 'publish' | 'discard' | 'replace' | 'decide'
  readonly other?: PacketLike | undefined
  readonly decide?: DecideLate | undefined
  readonly acknowledged?: (() => void) | undefined
}

/** A packet carries its instruction: an absent property is found in no time, a WeakSet takes some 30 ns. */
const INSTRUCTION: unique symbol = Symbol('topicgate.instruction')
const DISCARD: Instruction = Object.freeze({ kind: 'discard' })
interface Instructed {
  [INSTRUCTION]?: Instruction | undefined
}

function isLesser(instead: PacketLike, packet: Partial<PacketLike>): boolean {
  return (instead.qos ?? 0) < (packet.qos ?? 0)
}

/** A QoS 2 message that is about to be published. */
interface OrderedPublish {
  /** It is published with a lower QoS, which takes fewer steps. */
  readonly isLowered: boolean
  readonly publish: (published: Published) => void
  readonly published: Published
}

/** QoS 2 messages of one client that are being published, and those that wait for them. */
interface PublishOrder {
  underWay: number
  /** One that is under way was lowered. */
  isLowering: boolean
  readonly waiting: OrderedPublish[]
}

const ORDER: unique symbol = Symbol('topicgate.order')
interface Ordered {
  [ORDER]?: PublishOrder | undefined
}

/**
 * Publishes a QoS 2 message of a client so that it keeps its place: one with a lowered QoS neither overtakes those
 * before it nor is overtaken. Without lowered messages nothing waits.
 */
function publishInOrder(
  client: object,
  isLowered: boolean,
  publish: OrderedPublish['publish'],
  published: Published,
): void {
  const ordered = client as Ordered
  ordered[ORDER] ??= { underWay: 0, isLowering: false, waiting: [] }
  const order = ordered[ORDER]
  const next = { isLowered, publish, published }
  if (order.waiting.length === 0 && mayGo(order, next)) start(order, next)
  else order.waiting.push(next)
}

function mayGo({ underWay, isLowering }: PublishOrder, { isLowered }: OrderedPublish): boolean {
  return underWay === 0 || !(isLowered || isLowering)
}

function start(order: PublishOrder, { isLowered, publish, published }: OrderedPublish): void {
  order.underWay++
  order.isLowering = isLowered
  publish(error => {
    order.underWay--
    published(error)
    for (let next = order.waiting[0]; next !== undefined && mayGo(order, next); next = order.waiting[0]) {
      order.waiting.shift()
      start(order, next)
    }
  })
}

type Publish = (packet: object, client: unknown, done?: unknown) => void

/**
 * Wraps `broker.publish`, so that it publishes something else, or nothing, for packets with an instruction. aedes
 * acknowledges the packet that came, by its own QoS (QoS 2 is stored and released as usual). A discarded packet is
 * not retained, queued, delivered or reported. It is acknowledged because on MQTT 3.1.1 the client would otherwise
 * wait for ever [MQTT-4.3.2-2].
 */
export function discardMarked(broker: Aedes, holdings?: Holdings): Discards {
  const before = broker.publish as unknown as Publish
  const own = Object.hasOwn(broker, 'publish')
  /** Publishes; of retained messages, those that the limits have room for. */
  const store: Publish = (packet, client, done) => {
    if ((packet as Partial<PacketLike>).retain !== true || holdings === undefined) {
      before.call(broker, packet, client, done)
      return
    }
    const isShort = typeof client === 'function'
    const published = (isShort ? client : done) as Published | undefined
    const publisher = isShort ? undefined : client
    holdings.publishRetained(
      packet as PacketLike,
      publisher,
      error => published?.(error),
      stored => before.call(broker, packet, publisher ?? null, stored),
    )
  }
  const publish: Publish = (packet, client, done) => {
    const instruction = (packet as Instructed)[INSTRUCTION]
    if (instruction === undefined) {
      // Calls made with two arguments pass `undefined` on, which aedes takes as absent.
      store(packet, client, done)
      return
    }
    // A QoS 2 packet that is sent again is a new object.
    ;(packet as Instructed)[INSTRUCTION] = undefined
    const published = (typeof client === 'function' ? client : done) as Published | undefined
    follow(instruction, packet, client, published)
  }

  function follow(
    { kind, other, decide, acknowledged }: Instruction,
    packet: object,
    client: unknown,
    published: Published | undefined,
  ): void {
    const done: Published = error => {
      published?.(error)
      acknowledged?.()
    }
    if (kind === 'decide') {
      decide!(client as Client, () => publish(packet, client, done), done)
    } else if (kind === 'discard') {
      done(null)
    } else if ((packet as Partial<PacketLike>).qos === 2 && typeof client === 'object' && client !== null) {
      const isLowered = other !== undefined && isLesser(other, packet)
      publishInOrder(client, isLowered, ready => store(other ?? packet, client, ready), done)
    } else if (other !== undefined && isLesser(other, packet)) {
      // aedes takes a message for a duplicate if one of a lower QoS, which takes fewer steps, has overtaken it.
      setImmediate(() => store(other, client, done))
    } else {
      store(other ?? packet, client, done)
    }
  }

  const slot = broker as unknown as { publish?: Publish }
  slot.publish = publish
  const instruct = (packet: object, instruction: Instruction): void => {
    ;(packet as Instructed)[INSTRUCTION] = instruction
  }
  return {
    mark: (packet, acknowledged) =>
      instruct(packet, acknowledged === undefined ? DISCARD : { kind: 'discard', acknowledged }),
    replace: (packet, other, acknowledged) => instruct(packet, { kind: 'replace', other, acknowledged }),
    watch: (packet, acknowledged) => instruct(packet, { kind: 'publish', acknowledged }),
    decideLate: (packet, decide) => instruct(packet, { kind: 'decide', decide }),
    detach: () => {
      if (slot.publish !== publish) return
      if (own) slot.publish = before
      else delete slot.publish
    },
  }
}
