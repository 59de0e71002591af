import { hashLongPart } from '../../src/core/bounded-text.ts'
import type { SenderQueue } from '../../src/guard/guard.ts'

/** A connection, as seen by the queue of its client id. */
export interface QueueUser {
  readonly clientId: string
  /** The lane made with the connection; that of its client id if there is no other. */
  readonly requests: SenderQueue
  /** It has closed, or its client has another connection. */
  readonly isGone: boolean
  /** Nothing of it is to come any more, not even its will. */
  readonly isOver: boolean
  /** Gives up the lane: held messages of QoS 1 and 2 are forgotten. */
  leave(): void
}

interface ClientQueue {
  readonly senderQueue: SenderQueue
  user: QueueUser
}

/**
 * The queue of each client id, which outlives connections: what an earlier connection left goes first, then its will,
 * then what the next one brings. All of it counts as held by one client.
 */
export class SenderQueues {
  readonly #queues = new Map<string, ClientQueue>()

  get size(): number {
    return this.#queues.size
  }

  /** Hands the queue of a client id to its new connection. `earlier` is the connection that had it before. */
  open(user: QueueUser): { readonly senderQueue: SenderQueue; readonly earlier: QueueUser | undefined } {
    const key = hashLongPart(user.clientId)
    const queue = this.#queues.get(key)
    if (queue === undefined) {
      const made: ClientQueue = { senderQueue: user.requests, user }
      this.#queues.set(key, made)
      made.senderQueue.onIdle = () => this.#forgetUnused(key, made)
      return { senderQueue: made.senderQueue, earlier: undefined }
    }
    const earlier = queue.user
    queue.user = user
    earlier.leave()
    return { senderQueue: queue.senderQueue, earlier }
  }

  /** The lane of a client id that has a connection, or of which something is held. */
  senderQueueOf(clientId: string): SenderQueue | undefined {
    return this.#queues.get(hashLongPart(clientId))?.senderQueue
  }

  /** A connection has gone, or its last message was taken: forgets its queue if nothing needs it any more. */
  settle(user: QueueUser): void {
    const key = hashLongPart(user.clientId)
    const queue = this.#queues.get(key)
    if (queue?.user === user) this.#forgetUnused(key, queue)
  }

  #forgetUnused(key: string, queue: ClientQueue): void {
    const { senderQueue, user } = queue
    if (senderQueue.pending === 0 && user.isGone && user.isOver) this.#queues.delete(key)
  }
}
