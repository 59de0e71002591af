import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { createSender } from '../../src/chain/senders/sender-state.ts'
import { canonicalIp } from '../../src/conditions/cidr.ts'
import type { Decision } from '../../src/core/decision.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Sender } from '../../src/core/message.ts'
import type { ClientPeer } from '../../src/gateway/client-peer.ts'
import { PacketPipe } from '../../src/gateway/packet-pipe.ts'
import type { PacketProblem } from '../../src/gateway/packet-walker.ts'
import type { SenderQueue } from '../../src/guard/guard.ts'
import { ClientDeliveries } from './client-deliveries.ts'
import { type ClientConnection, ClientLines } from './client-lines.ts'
import { ClientPublishes } from './client-publishes.ts'
import { ClientSubscriptions } from './client-subscriptions.ts'
import { type Connect, readConnect } from './connect.ts'
import { ControlLine } from './control-line.ts'
import type { GatewayContext } from './gateway-context.ts'
import { encodeInfo, readInfo, rewriteInfo, type ServerInfo } from './info.ts'
import type { NatsGatewayClient } from './options.ts'
import { OrderedLine } from './ordered-line.ts'
import { OwnPing } from './own-ping.ts'
import { type ServerConnection, ServerLines } from './server-lines.ts'
import { SubscriptionTable } from './subscription-table.ts'
import { encodeError, encodeUnsubscribe, OK_LINE, PING_LINE } from './write-lines.ts'

/** Time for the INFO and the CONNECT together, and from the CONNECT until it is accepted. */
const CONNECT_WITHIN_MS = 10_000
const ACCEPT_WITHIN_MS = 60_000

/** Maximum wait for a socket to send its last bytes. */
const CLOSE_WITHIN_MS = 5_000

/** Payload limit of servers that name none. */
const DEFAULT_PAYLOAD_BYTES = 1_048_576

const UNKNOWN_SENDER: Sender = Object.freeze({})

// Shared by all connections, because each header is read only until the next one.
const CLIENT_LINE = new ControlLine(MAX_SIZES.natsClientLineBytes)
const SERVER_LINE = new ControlLine(MAX_SIZES.natsServerLineBytes)

/**
 * Phase of a connection: `greeting` until the INFO of the server, `connecting` until the CONNECT is decided,
 * `authenticating` until the server accepts it, `open`, `closing` while last lines are sent, `closed`.
 */
type Phase = 'greeting' | 'connecting' | 'authenticating' | 'open' | 'closing' | 'closed'

/** A client connection and its connection to the server. */
export class GatewayConnection implements ClientConnection, ServerConnection {
  readonly context: GatewayContext
  readonly toServer: PacketPipe
  readonly subscriptionTable = new SubscriptionTable()
  publishes: ClientPublishes | undefined
  subscriptions: ClientSubscriptions | undefined
  deliveries: ClientDeliveries | undefined
  sender: Sender = UNKNOWN_SENDER
  maxPayloadBytes = 0
  isVerbose = false
  hasHeaders = false
  readonly #client: Duplex
  readonly #peer: ClientPeer
  readonly #onClosed: (connection: GatewayConnection) => void
  readonly #queue: SenderQueue
  readonly #ownPing = new OwnPing()
  #toClient: PacketPipe | undefined
  #upstream: Duplex | undefined
  #phase: Phase = 'greeting'
  #info: ServerInfo | undefined
  #acceptsInfo = false
  /** +OK lines that confirm lines of the gateway. */
  #ownOks = 0
  #isClientGone = false
  /** Checks whether the end of the connection need not wait any more. */
  #checkIdle: (() => void) | undefined
  #cancelTimer: () => void
  #onDrained: (() => void) | undefined

  constructor(
    context: GatewayContext,
    client: Duplex,
    peer: ClientPeer,
    onClosed: (connection: GatewayConnection) => void,
  ) {
    this.context = context
    this.#client = client
    this.#peer = peer
    this.#onClosed = onClosed
    const { guard, settings, clientPauses } = context
    this.#queue = guard.senderQueue(
      {
        onPause: () => this.toServer.block('held'),
        onResume: () => {
          if (this.#queue.heldOwn === 0) this.toServer.unblock('held')
        },
        onQueued: () => {
          if (this.#queue.queued >= settings.maxQueuedPerSender) this.toServer.block('queueFull')
        },
        onDequeued: () => {
          if (this.#queue.queued <= settings.maxQueuedPerSender / 2) this.toServer.unblock('queueFull')
        },
      },
      { waitsFully: true },
    )
    this.#queue.onIdle = () => this.#checkIdle?.()
    this.#cancelTimer = guard.clock.after(CONNECT_WITHIN_MS, () => this.#destroy())
    // 'close' follows.
    client.on('error', err => context.logger.debug({ err }, 'connection of a client failed'))
    client.on('end', () => this.#onClientEnd())
    client.on('close', () => this.#onClientEnd())
    const maxBytes = MAX_SIZES.natsPayloadBytes + MAX_SIZES.natsClientLineBytes
    this.toServer = new PacketPipe(
      client,
      new ClientLines(this),
      CLIENT_LINE,
      maxBytes,
      guard.clock,
      clientPauses,
    )
    this.toServer.block('notOpen')
    void this.#dial()
  }

  get toClient(): PacketPipe {
    return this.#toClient!
  }

  get isClosing(): boolean {
    return this.#phase === 'closing' || this.#phase === 'closed'
  }

  get isOpen(): boolean {
    return this.#phase === 'open'
  }

  confirm(): void {
    if (this.isVerbose) this.toClient.insert(OK_LINE)
  }

  unsubscribe(sid: string, maximum: number): void {
    if (this.isVerbose) this.#ownOks++
    this.toServer.insert(encodeUnsubscribe(sid, maximum))
  }

  handleInfo(line: string): void {
    const info = readInfo(line)
    if (info === undefined) {
      this.onProblem('malformed')
      return
    }
    const { context } = this
    if (info.tls_required === true && (this.#upstream as Partial<TLSSocket>).encrypted !== true) {
      context.logger.warn(
        {},
        'the NATS server requires TLS, which the gateway does not start (use handshake_first)',
      )
      this.#endSoon()
      return
    }
    this.#info = info
    this.maxPayloadBytes = Math.min(
      typeof info.max_payload === 'number' ? info.max_payload : DEFAULT_PAYLOAD_BYTES,
      context.settings.maxPayloadBytes,
    )
    this.#sendInfo(info)
    if (this.#phase !== 'greeting') return
    this.#phase = 'connecting'
    this.toServer.unblock('notOpen')
  }

  handleConnect(line: Buffer): void {
    this.toServer.block('notOpen')
    const connect = readConnect(line, this.#info?.nonce)
    if (connect === undefined) {
      this.#refuse('Authorization Violation')
      return
    }
    this.isVerbose = connect.isVerbose
    this.hasHeaders = connect.acceptsHeaders && this.#info?.headers === true
    this.#acceptsInfo = connect.acceptsInfo
    this.sender = this.#createSender(connect)
    this.#cancelTimer()
    this.#cancelTimer = this.context.guard.clock.after(ACCEPT_WITHIN_MS, () => this.#destroy())
    this.context.connects.admit(this.sender, (decision, message) => {
      if (this.#phase !== 'connecting') return
      if (!decision.allowed) {
        this.context.refusals.recordRefusal(message, decision)
        this.#refuseConnect(decision)
        return
      }
      this.#phase = 'authenticating'
      this.toServer.insert(connect.line)
      // Only the answer shows that the server has accepted the CONNECT.
      this.#sendPing()
    })
  }

  handleClientPing(line: Buffer): boolean {
    if (this.#queue.held === 0) {
      this.#ownPing.countClientPing()
      return false
    }
    new OrderedLine(this, Buffer.from(line), () => this.#ownPing.countClientPing()).enqueue(this.#queue)
    return true
  }

  handlePong(): boolean {
    if (!this.#ownPing.handlePong()) return false
    if (this.#phase === 'authenticating') this.#onAccepted()
    return true
  }

  handleOk(): boolean {
    if (this.#ownOks === 0 || this.#phase !== 'open') return false
    this.#ownOks--
    return true
  }

  handleError(): void {
    if (this.#phase === 'authenticating') this.context.connects.chargeFailure(this.sender.ip)
  }

  disconnect(decision: Decision): void {
    if (this.isClosing) return
    this.context.counters.disconnected++
    if (decision.reason === 'banned') this.#refuse('Authorization Violation')
    else this.#closeSoon()
  }

  onProblem(problem: PacketProblem): void {
    // Else the line would be read again and again.
    this.toServer.block('draining')
    this.#toClient?.block('draining')
    if (this.isClosing) return
    const { counters } = this.context
    if (problem === 'malformed') counters.malformed++
    else counters.oversized++
    this.#refuse(problem === 'malformed' ? 'Unknown Protocol Operation' : 'Maximum Payload Violation')
  }

  /** Ends the connection. Held messages may pass for at most `withinMs`. Resolves when both sockets are closed. */
  drain(withinMs: number): Promise<void> {
    return new Promise(resolve => {
      if (this.#phase === 'closed') {
        resolve()
        return
      }
      this.#onDrained = resolve
      if (this.#phase !== 'open') {
        this.#closeSoon()
        return
      }
      // Clients that understand it connect elsewhere.
      if (this.#acceptsInfo && this.#info !== undefined) this.#sendInfo({ ...this.#info, ldm: true })
      this.toServer.block('draining')
      this.#whenIdle(withinMs, () => {
        if (this.isClosing) return
        // Answered when the server has handled all that was sent before.
        this.#ownPing.onPong = () => this.#closeSoon()
        this.#sendPing()
        this.#cancelTimer = this.context.guard.clock.after(withinMs, () => this.#closeSoon())
      })
    })
  }

  async #dial(): Promise<void> {
    const { counters, settings, logger } = this.context
    let upstream: Duplex
    try {
      upstream = await settings.connectUpstream({ peer: this.#peer })
    } catch (err) {
      counters.upstreamConnectsFailed++
      logger.warn({ err }, 'no connection to the NATS server')
      this.#destroy()
      return
    }
    counters.upstreamConnects++
    if (this.#phase !== 'greeting') {
      upstream.on('error', () => {})
      upstream.destroy()
      return
    }
    this.#connectPipes(upstream)
  }

  #connectPipes(upstream: Duplex): void {
    const { guard, serverPauses, logger } = this.context
    this.#upstream = upstream
    upstream.on('error', err => logger.debug({ err }, 'connection to the NATS server failed'))
    upstream.on('end', () => this.#endSoon())
    upstream.on('close', () => this.#endSoon())
    const maxBytes = MAX_SIZES.natsPayloadBytes + MAX_SIZES.natsServerLineBytes
    const lines = new ServerLines(this)
    const toClient = new PacketPipe(upstream, lines, SERVER_LINE, maxBytes, guard.clock, serverPauses)
    this.#toClient = toClient
    toClient.reverse = this.toServer
    this.toServer.reverse = toClient
    toClient.setOutput(this.#client)
    this.toServer.setOutput(upstream)
  }

  #sendInfo(info: ServerInfo): void {
    const { advertise } = this.context.settings
    const { ip, tls } = this.#peer
    const rewritten = rewriteInfo(info, {
      clientIp: canonicalIp(ip),
      isTls: tls !== undefined,
      maxPayloadBytes: this.maxPayloadBytes,
      advertise,
    })
    this.toClient.insert(encodeInfo(rewritten))
  }

  #createSender(connect: Connect): Sender {
    const { ip, port } = this.#peer
    return createSender({
      client: connect.name ?? (port === undefined ? ip : `${ip}:${port}`),
      user: connect.user,
      ip: canonicalIp(ip),
      ...this.#identify({ ...connect, peer: this.#peer }),
    })
  }

  #identify(client: NatsGatewayClient): Partial<Sender> | undefined {
    const { settings, logger } = this.context
    try {
      return settings.identify?.(client)
    } catch (err) {
      logger.error(
        { err, client: client.name },
        'identify threw an error, the sender is used without its fields',
      )
      return undefined
    }
  }

  #sendPing(): void {
    this.#ownPing.countOwnPing()
    this.toServer.insert(PING_LINE)
  }

  #onAccepted(): void {
    this.context.connects.charge(this.sender, decision => this.#decideAccepted(decision))
  }

  #decideAccepted(decision: Decision): void {
    if (this.#phase !== 'authenticating') return
    if (!decision.allowed) {
      this.#refuseConnect(decision)
      return
    }
    this.#cancelTimer()
    this.publishes = new ClientPublishes(this, this.#queue)
    this.subscriptions = new ClientSubscriptions(this, this.#queue)
    const deliveryQueue = this.context.guard.senderQueue({
      onPause: () => this.toClient.block('held'),
      onResume: () => this.toClient.unblock('held'),
    })
    this.deliveries = new ClientDeliveries(this, deliveryQueue)
    this.#phase = 'open'
    this.toServer.unblock('notOpen')
    this.#checkIdle?.()
  }

  #refuseConnect(decision: Decision): void {
    this.context.counters.connectsRefused++
    if (decision.outcome === 'disconnect' && decision.reason !== 'banned') this.#closeSoon()
    else
      this.#refuse(decision.reason === 'banned' ? 'Authorization Violation' : 'maximum connections exceeded')
  }

  /** Ends the connection with an error that clients know. */
  #refuse(text: string): void {
    this.#closeSoon(encodeError(text))
  }

  /** Ends the connection, later. Why: lines before the current one may not be forwarded yet. */
  #closeSoon(lastLine?: Buffer): void {
    if (this.isClosing) return
    this.#phase = 'closing'
    this.toServer.block('draining')
    setImmediate(() => {
      if (lastLine !== undefined) this.#toClient?.insert(lastLine)
      this.#endSoon()
    })
  }

  #onClientEnd(): void {
    if (this.#phase === 'closed' || this.#isClientGone) return
    this.#isClientGone = true
    // Messages that the client sent before still pass in their turn.
    this.#whenIdle(MAX_SIZES.holdMs, () => this.#endSoon())
  }

  /** Calls `run` once when no message of the client is held or unread, or too late. */
  #whenIdle(withinMs: number, run: () => void): void {
    let isFinished = false
    const finish = (): void => {
      if (isFinished) return
      isFinished = true
      cancel()
      this.#checkIdle = undefined
      run()
    }
    const cancel = this.context.guard.clock.after(withinMs, finish)
    // Later, because lines before the current one may not be forwarded yet.
    const check = (): void =>
      void setImmediate(() => {
        if (this.#isIdle) finish()
      })
    this.#checkIdle = check
    check()
  }

  get #isIdle(): boolean {
    if (this.#phase === 'authenticating' || this.#queue.pending > 0) return false
    // What is unread while the gateway closes stays with the client.
    return this.isClosing || this.toServer.isBlockedBy('draining') || !this.toServer.hasUnread
  }

  /** Ends both sockets after their last bytes. */
  #endSoon(): void {
    if (this.#phase === 'closed') return
    this.#client.end()
    this.#upstream?.end()
    this.#close()
    this.#cancelTimer = this.context.guard.clock.after(CLOSE_WITHIN_MS, () => this.#destroySockets())
  }

  #destroy(): void {
    this.#close()
    this.#destroySockets()
  }

  #destroySockets(): void {
    this.#client.destroy()
    this.#upstream?.destroy()
  }

  #close(): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closed'
    this.#cancelTimer()
    const { counters } = this.context
    counters.bytesFromClients += this.toServer.receivedBytes
    counters.bytesFromServer += this.#toClient?.receivedBytes ?? 0
    this.#checkIdle = undefined
    this.#queue.detach()
    this.deliveries?.close()
    this.toServer.close()
    this.#toClient?.close()
    this.#onClosed(this)
    this.#onDrained?.()
  }
}
