import type { Published } from './aedes-internals.ts'

/** A QoS 2 message that is about to be published. */
interface OrderedPublish {
  /** True if it is published with a lower QoS, which takes fewer steps. */
  readonly isLowered: boolean
  readonly publish: (published: Published) => void
  readonly published: Published
}

/** QoS 2 messages of one client: those being published, and those waiting for them. */
interface PublishOrder {
  publishing: number
  /** True if one of the messages being published has a lowered QoS. */
  isLowering: boolean
  readonly waiting: OrderedPublish[]
}

const ORDER: unique symbol = Symbol('topicgate.order')
interface Ordered {
  [ORDER]?: PublishOrder | undefined
}

/**
 * Publishes the QoS 2 messages of a client in order: one with a lowered QoS neither overtakes earlier messages nor is
 * overtaken. Messages wait only while one is lowered.
 */
export function publishInOrder(
  client: object,
  isLowered: boolean,
  publish: OrderedPublish['publish'],
  published: Published,
): void {
  const ordered = client as Ordered
  ordered[ORDER] ??= { publishing: 0, isLowering: false, waiting: [] }
  const order = ordered[ORDER]
  const next = { isLowered, publish, published }
  if (order.waiting.length === 0 && canStart(order, next)) start(order, next)
  else order.waiting.push(next)
}

function canStart({ publishing, isLowering }: PublishOrder, { isLowered }: OrderedPublish): boolean {
  return publishing === 0 || !(isLowered || isLowering)
}

function start(order: PublishOrder, { isLowered, publish, published }: OrderedPublish): void {
  order.publishing++
  order.isLowering = isLowered
  publish(error => {
    order.publishing--
    published(error)
    for (let next = order.waiting[0]; next !== undefined && canStart(order, next); next = order.waiting[0]) {
      order.waiting.shift()
      start(order, next)
    }
  })
}
