import type { Aedes } from 'aedes'
import { type AedesDelivery, brokerInternals, type Publish, type Published } from './aedes-internals.ts'

/** A publish between its start and its delivery to subscribers. */
interface PublishInProgress {
  /** Delivers it; undefined while the persistence stores it. */
  emit: (() => void) | undefined
  isFailed: boolean
}

/**
 * Delivers messages to subscribers in the order of their publishes, however long the persistence takes to store each. Why:
 * aedes takes a message for a duplicate if a later one has overtaken it, and loses it. Returns a function that
 * detaches it.
 */
export function orderDeliveries(broker: Aedes): () => void {
  const internals = brokerInternals(broker)
  const { mq, publish: originalPublish } = internals
  if (mq === undefined || typeof mq.emit !== 'function' || originalPublish === undefined) return () => {}
  const isOwnProperty = Object.hasOwn(broker, 'publish')
  const originalEmit = mq.emit
  /** By the number that aedes gives each message, ascending. */
  const inProgress = new Map<number, PublishInProgress>()

  function flush(): void {
    for (const [number, { emit, isFailed }] of inProgress) {
      if (emit === undefined && !isFailed) return
      inProgress.delete(number)
      emit?.()
    }
  }

  const publish: Publish = (packet, client, done) => {
    const isWithoutClient = typeof client === 'function'
    const published = (isWithoutClient ? client : done) as Published | undefined
    const number = (internals.counter ?? 0) + 1
    const progress: PublishInProgress = { emit: undefined, isFailed: false }
    inProgress.set(number, progress)
    originalPublish.call(broker, packet, isWithoutClient ? null : client, (error?: Error | null) => {
      if (inProgress.get(number) === progress && progress.emit === undefined) {
        progress.isFailed = true
        flush()
      }
      published?.(error)
    })
  }

  const emit = (packet: AedesDelivery, done: unknown): void => {
    const progress = inProgress.get(packet.brokerCounter ?? 0)
    if (progress === undefined || packet.brokerId !== broker.id) {
      originalEmit.call(mq, packet, done)
      return
    }
    progress.emit = () => originalEmit.call(mq, packet, done)
    flush()
  }

  internals.publish = publish
  mq.emit = emit
  return () => {
    if (mq.emit === emit) mq.emit = originalEmit
    if (internals.publish !== publish) return
    if (isOwnProperty) internals.publish = originalPublish
    else delete internals.publish
  }
}
