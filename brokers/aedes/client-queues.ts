import { hashLongPart } from '../../src/core/hash-long-part.ts'
import type { SenderQueue } from '../../src/guard/guard.ts'

/** A connection, as used by the queue of its client id. */
export interface QueueConnection {
  readonly clientId: string
  /** Queue created with the connection; the client id uses it if it has no other. */
  readonly requests: SenderQueue
  /** True if it has closed or its client has another connection. */
  readonly isClosed: boolean
  /** True when nothing more can arrive, not even the will. */
  readonly isFinished: boolean
  /** Releases the queue: held messages of QoS 1 and 2 are dropped. */
  handleClose(): void
}

interface ClientQueue {
  readonly senderQueue: SenderQueue
  user: QueueConnection
}

/**
 * Queues by client id, which outlive connections: messages of an earlier connection go first, then its will, then
 * messages of the next one. All count as held by one client.
 */
export class ClientQueues {
  readonly #queues = new Map<string, ClientQueue>()

  get size(): number {
    return this.#queues.size
  }

  /** Assigns the queue of a client id to its new connection. `earlier` is the connection that used it before. */
  assignQueue(user: QueueConnection): {
    readonly senderQueue: SenderQueue
    readonly earlier: QueueConnection | undefined
  } {
    const key = hashLongPart(user.clientId)
    const queue = this.#queues.get(key)
    if (queue === undefined) {
      const created: ClientQueue = { senderQueue: user.requests, user }
      this.#queues.set(key, created)
      created.senderQueue.onIdle = () => this.#deleteIfUnused(key, created)
      return { senderQueue: created.senderQueue, earlier: undefined }
    }
    const earlier = queue.user
    queue.user = user
    earlier.handleClose()
    return { senderQueue: queue.senderQueue, earlier }
  }

  /** Returns the queue of a client id that has a connection or held messages. */
  senderQueueOf(clientId: string): SenderQueue | undefined {
    return this.#queues.get(hashLongPart(clientId))?.senderQueue
  }

  /** Called when a connection has closed or its last message is done: deletes its queue if it is unused. */
  release(user: QueueConnection): void {
    const key = hashLongPart(user.clientId)
    const queue = this.#queues.get(key)
    if (queue?.user === user) this.#deleteIfUnused(key, queue)
  }

  #deleteIfUnused(key: string, queue: ClientQueue): void {
    const { senderQueue, user } = queue
    if (senderQueue.pending === 0 && user.isClosed && user.isFinished) this.#queues.delete(key)
  }
}
