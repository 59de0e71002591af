import { boundedPart } from '../../src/bounded-part.ts'
import type { Lane } from '../../src/guard.ts'

/** A connection, as seen by the queue of its client id. */
export interface QueueUser {
  readonly clientId: string
  /** The lane made with the connection; that of its client id if there is no other. */
  readonly requests: Lane
  /** It has closed, or its client has another connection. */
  readonly isGone: boolean
  /** Nothing of it is to come any more, not even its will. */
  readonly isOver: boolean
  /** Gives up the lane: held messages of QoS 1 and 2 are forgotten. */
  leave(): void
}

interface SenderQueue {
  readonly lane: Lane
  user: QueueUser
}

/**
 * The queue of each client id, which outlives connections: what an earlier connection left goes first, then its will,
 * then what the next one brings. All of it counts as held by one client.
 */
export class SenderQueues {
  readonly #queues = new Map<string, SenderQueue>()

  get size(): number {
    return this.#queues.size
  }

  /** Hands the queue of a client id to its new connection. `earlier` is the connection that had it before. */
  open(user: QueueUser): { readonly lane: Lane; readonly earlier: QueueUser | undefined } {
    const key = boundedPart(user.clientId)
    const queue = this.#queues.get(key)
    if (queue === undefined) {
      const made: SenderQueue = { lane: user.requests, user }
      this.#queues.set(key, made)
      made.lane.onIdle = () => this.#forgetUnused(key, made)
      return { lane: made.lane, earlier: undefined }
    }
    const earlier = queue.user
    queue.user = user
    earlier.leave()
    return { lane: queue.lane, earlier }
  }

  /** The lane of a client id that has a connection, or of which something is held. */
  laneOf(clientId: string): Lane | undefined {
    return this.#queues.get(boundedPart(clientId))?.lane
  }

  /** A connection has gone, or its last message was taken: forgets its queue if nothing needs it any more. */
  settle(user: QueueUser): void {
    const key = boundedPart(user.clientId)
    const queue = this.#queues.get(key)
    if (queue?.user === user) this.#forgetUnused(key, queue)
  }

  #forgetUnused(key: string, queue: SenderQueue): void {
    const { lane, user } = queue
    if (lane.pending === 0 && user.isGone && user.isOver) this.#queues.delete(key)
  }
}
