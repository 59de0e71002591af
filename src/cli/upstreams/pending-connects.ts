import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { callIfLate, systemClock } from '../../core/clock.ts'
import { FairQueue } from '../../core/fair-queue.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'

/** A client has not got its turn in time. */
export class ConnectQueueTimeoutError extends Error {}

export interface PendingConnectsOptions {
  readonly max: number
  /** Time after which a connection no longer counts, although the broker has neither answered nor closed it. */
  readonly maxAnswerMs: number
  /** Maximum wait of a client for its turn. */
  readonly maxQueueMs: number
}

/** Client whose turn may come. */
interface WaitingClient {
  readonly ip: string
  readonly isGone: () => boolean
}

/**
 * Limits the connections to one broker that it has not answered yet, because the backlog of its listener is short. Further
 * clients wait; their addresses take turns.
 */
export class PendingConnects {
  readonly #options: PendingConnectsOptions
  readonly #queue: FairQueue
  /** Clients that waited too long. */
  timeouts = 0

  constructor(options: PendingConnectsOptions) {
    const { waitingUpstreamConnects: maxWaiting } = MAX_SIZES
    this.#options = options
    this.#queue = new FairQueue({ concurrent: options.max, maxPerKey: maxWaiting, maxTotal: maxWaiting })
  }

  get count(): number {
    return this.#queue.running
  }

  get waiting(): number {
    return this.#queue.waiting
  }

  /**
   * Opens a connection when it is the client's turn. Rejects with ConnectQueueTimeoutError if that takes too long, or if too
   * many wait.
   */
  connect({ ip, isGone }: WaitingClient, open: () => Promise<Socket>): Promise<Socket> {
    return new Promise((resolve, reject) => {
      let isOver = false
      const refuse = (): void => {
        if (isOver) return
        isOver = true
        cancelTimeout()
        if (isGone()) reject(new Error('the client has closed its connection'))
        else {
          this.timeouts++
          reject(new ConnectQueueTimeoutError('the broker has too many connections that it has not answered'))
        }
      }
      const cancelTimeout = callIfLate(systemClock, this.#options.maxQueueMs, refuse)
      const connect = async (): Promise<void> => {
        isOver = true
        cancelTimeout()
        const socket = await open()
        resolve(socket)
        await this.#untilAnswered(socket)
      }
      this.#queue.run(ip, () => isOver || isGone(), connect).then(refuse, reject)
    })
  }

  /** Resolves when the broker has accepted a connection, or will not. */
  #untilAnswered(socket: Socket): Promise<void> {
    return new Promise(resolve => {
      // The handshake was an answer.
      if (socket instanceof TLSSocket) return resolve()
      const finish = (): void => {
        cancelTimeout()
        socket.off('data', finish)
        socket.off('close', finish)
        resolve()
      }
      const cancelTimeout = callIfLate(systemClock, this.#options.maxAnswerMs, finish)
      // Bytes arrive in a later turn, when the caller reads them too.
      socket.on('data', finish)
      socket.on('close', finish)
    })
  }
}
