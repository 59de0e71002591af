import type { Duplex } from 'node:stream'
import { callIfLate } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import type { MaybePromise, Sender } from '../core/message.ts'
import type { SenderQueue, SenderQueueHooks } from '../guard/guard.ts'
import type { ClientPeer } from './client-peer.ts'
import type { GatewayContext } from './gateway-context.ts'
import { type PacketDecider, PacketPipe } from './packet-pipe.ts'
import type { PacketHeader, PacketProblem } from './packet-walker.ts'

/** Time for the CONNECT, and from it until the broker has accepted or refused the client. */
const CONNECT_WITHIN_MS = 10_000
const ACCEPT_WITHIN_MS = 60_000

/** Maximum wait for a socket to send its last bytes. */
const CLOSE_WITHIN_MS = 5_000

/** Maximum wait for the decisions about the last messages of a connection. */
export const LAST_CHECKS_MS = 1_000

const UNKNOWN_SENDER: Sender = Object.freeze({})

/**
 * Phase of a connection: `greeting` until the broker has sent its greeting, if it has one, `connecting` until the CONNECT
 * is decided, `dialing` until the broker is connected, `authenticating` until the broker accepts the client, `open`,
 * `closing` while last packets are sent, `closed`.
 */
export type ConnectionPhase =
  | 'greeting'
  | 'connecting'
  | 'dialing'
  | 'authenticating'
  | 'open'
  | 'closing'
  | 'closed'

/** A client connection and its connection to the broker. */
export abstract class GatewayConnection<Context extends GatewayContext> {
  readonly context: Context
  abstract readonly toBroker: PacketPipe
  sender: Sender = UNKNOWN_SENDER
  protected phase: ConnectionPhase
  protected client: Duplex
  protected readonly peer: ClientPeer
  /** Publishes of the client that wait. */
  protected readonly queue: SenderQueue
  protected readonly queueHooks: SenderQueueHooks
  protected upstream: Duplex | undefined
  protected isClientGone = false
  readonly #onClosed: () => void
  #toClient: PacketPipe | undefined
  #cancelTimeout: () => void
  #onDrained: (() => void) | undefined

  protected constructor(
    context: Context,
    client: Duplex,
    peer: ClientPeer,
    phase: ConnectionPhase,
    onClosed: () => void,
  ) {
    this.context = context
    this.client = client
    this.peer = peer
    this.phase = phase
    this.#onClosed = onClosed
    const { guard, settings } = context
    this.queueHooks = {
      onPause: () => this.toBroker.block('held'),
      onResume: () => {
        if (this.queue.heldOwn === 0) this.toBroker.unblock('held')
      },
      onQueued: () => {
        if (this.queue.queued >= settings.maxQueuedPerSender) this.toBroker.block('queueFull')
      },
      onDequeued: () => {
        if (this.queue.queued <= settings.maxQueuedPerSender / 2) this.toBroker.unblock('queueFull')
      },
    }
    this.queue = guard.senderQueue(this.queueHooks, { waitsFully: true })
    this.#cancelTimeout = callIfLate(guard.clock, CONNECT_WITHIN_MS, () => this.destroy())
    this.#watchClient(client)
  }

  get toClient(): PacketPipe {
    return this.#toClient!
  }

  get isOpen(): boolean {
    return this.phase === 'open'
  }

  get isClosing(): boolean {
    return this.phase === 'closing' || this.phase === 'closed'
  }

  /** Client id, once the broker has accepted the client. */
  get clientId(): string | undefined {
    return this.phase === 'open' ? this.sender.client : undefined
  }

  /** Disconnects the client because of a decision. */
  abstract disconnect(decision: Decision): void

  onProblem(problem: PacketProblem): void {
    // Else the packet would be read again and again.
    this.toBroker.block('draining')
    this.#toClient?.block('draining')
    if (this.isClosing) return
    const { counters } = this.context
    if (problem === 'malformed') counters.malformed++
    else counters.oversized++
    this.endAfterProblem(problem)
  }

  /**
   * Ends the connection. Messages that the client has sent may pass in their turn for at most `withinMs`; then those pass
   * that the limits allow at once. The broker has handled what it got. Resolves when both sockets are closed.
   */
  drain(withinMs: number): Promise<void> {
    return new Promise(resolve => {
      this.#onDrained = resolve
      if (this.phase === 'closed') return
      if (this.phase === 'open') {
        this.toBroker.drain()
        this.drainOpen(withinMs)
      } else this.refuseUnavailable()
    })
  }

  /** Ends the connection after a packet that cannot be forwarded. */
  protected abstract endAfterProblem(problem: PacketProblem): void
  protected abstract drainOpen(withinMs: number): void
  /** Ends a connection that the broker has not accepted, and tells the client so if its protocol can. */
  protected abstract refuseUnavailable(): void
  protected abstract refuseConnect(decision: Decision): void
  /** Called once when the client has ended its connection. */
  protected abstract handleClientGone(): void
  protected abstract handleUpstreamEnd(): void
  /** Releases what the protocol needs. */
  protected abstract handleClosed(): void

  /** Creates the pipe of the packets from the client to the broker. */
  protected createClientPipe(
    packets: PacketDecider,
    header: PacketHeader,
    maxPacketBytes: number,
  ): PacketPipe {
    const { guard, clientPauses } = this.context
    return new PacketPipe(packets, header, maxPacketBytes, guard.clock, clientPauses)
  }

  /** Goes on with an encrypted stream of the client. */
  protected replaceClient(client: Duplex): void {
    this.client = client
    this.#watchClient(client)
    this.toBroker.setInput(client)
    this.toClient.setOutput(client)
  }

  /** Asks the rules `on: connect`, and calls `proceed` if the client may connect. */
  protected admitConnect(proceed: () => void): void {
    this.endAfter(ACCEPT_WITHIN_MS, () => this.refuseUnavailable())
    this.context.connects.admit(this.sender, (decision, message) => {
      if (this.phase !== 'connecting') return
      if (decision.allowed) {
        proceed()
        return
      }
      this.context.refusals.recordRefusal(message, decision)
      this.refuseConnect(decision)
    })
  }

  /** Connects to the broker. Resolves to undefined if that failed, or if the phase has changed meanwhile. */
  protected async dial(open: () => MaybePromise<Duplex>): Promise<Duplex | undefined> {
    const { counters, failedDials } = this.context
    const { phase } = this
    let upstream: Duplex
    try {
      upstream = await open()
    } catch (err) {
      if (this.phase !== phase) return undefined
      counters.upstreamConnectsFailed++
      failedDials.log({ err, client: this.sender.client }, 'no connection to the broker')
      return undefined
    }
    counters.upstreamConnects++
    if (this.phase === phase) return upstream
    upstream.on('error', () => {})
    upstream.destroy()
    return undefined
  }

  /** Connects the packets of both sides. */
  protected connectPipes(
    upstream: Duplex,
    packets: PacketDecider,
    header: PacketHeader,
    maxPacketBytes: number,
  ): void {
    const { guard, brokerPauses, logger } = this.context
    this.upstream = upstream
    upstream.on('error', err => logger.debug({ err }, 'connection to the broker failed'))
    upstream.on('end', () => this.handleUpstreamEnd())
    upstream.on('close', () => {
      this.handleUpstreamEnd()
      this.#checkSockets()
    })
    const toClient = new PacketPipe(packets, header, maxPacketBytes, guard.clock, brokerPauses)
    this.#toClient = toClient
    toClient.reverse = this.toBroker
    this.toBroker.reverse = toClient
    toClient.setOutput(this.client)
    this.toBroker.setOutput(upstream)
    toClient.setInput(upstream)
  }

  /** The broker has accepted the client: its packets are decided from now on. */
  protected open(): void {
    this.#cancelTimeout()
    this.phase = 'open'
  }

  protected createDeliveryQueue(): SenderQueue {
    return this.context.guard.senderQueue({
      onPause: () => this.toClient.block('held'),
      onResume: () => this.toClient.unblock('held'),
    })
  }

  protected endClient(): void {
    if (this.phase === 'closed' || this.isClientGone) return
    this.isClientGone = true
    this.handleClientGone()
  }

  /**
   * Calls `end` after a time in which the event loop was not busy, unless the connection is accepted or ends before. Replaces
   * an earlier call.
   */
  protected endAfter(afterMs: number, end: () => void): void {
    this.#cancelTimeout()
    this.#cancelTimeout = callIfLate(this.context.guard.clock, afterMs, end)
  }

  /** Ends both sockets after their last bytes. */
  protected endSoon(): void {
    if (this.phase === 'closed') return
    this.client.end()
    this.upstream?.end()
    this.#close()
    this.endAfter(CLOSE_WITHIN_MS, () => this.#destroySockets())
    this.#checkSockets()
  }

  protected destroy(): void {
    this.#close()
    this.#destroySockets()
    this.#checkSockets()
  }

  #watchClient(client: Duplex): void {
    // 'close' follows.
    client.on('error', err => this.context.logger.debug({ err }, 'connection of a client failed'))
    client.on('end', () => this.endClient())
    client.on('close', () => {
      this.endClient()
      this.#checkSockets()
    })
  }

  #destroySockets(): void {
    this.client.destroy()
    this.upstream?.destroy()
  }

  #close(): void {
    if (this.phase === 'closed') return
    this.phase = 'closed'
    this.#cancelTimeout()
    const { counters } = this.context
    counters.bytesFromClients += this.toBroker.receivedBytes
    counters.bytesFromBroker += this.#toClient?.receivedBytes ?? 0
    this.handleClosed()
    this.queue.detach()
    this.toBroker.close()
    this.#toClient?.close()
  }

  /** Reports the end of the connection when both sockets have sent their last bytes and are closed. */
  #checkSockets(): void {
    if (this.phase !== 'closed' || !this.client.closed || this.upstream?.closed === false) return
    this.#cancelTimeout()
    this.#onClosed()
    this.#onDrained?.()
  }
}
