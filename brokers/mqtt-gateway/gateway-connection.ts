import type { Duplex } from 'node:stream'
import { type Decision, PASSED } from '../../src/core/decision.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import { isPromise } from '../../src/core/maybe-promise.ts'
import type { Sender } from '../../src/core/message.ts'
import type { ClientPeer } from '../../src/gateway/client-peer.ts'
import { PacketPipe } from '../../src/gateway/packet-pipe.ts'
import { type PacketProblem, type PacketVerdict, SKIP, STOP } from '../../src/gateway/packet-walker.ts'
import type { SenderQueue, SenderQueueHooks } from '../../src/guard/guard.ts'
import { type BrokerConnection, BrokerPackets } from './broker-packets.ts'
import { ClientDeliveries } from './client-deliveries.ts'
import { ClientIdentity } from './client-identity.ts'
import { type ClientConnection, ClientPackets } from './client-packets.ts'
import { ClientPublishes } from './client-publishes.ts'
import { ClientSubscriptions } from './client-subscriptions.ts'
import { FIXED_HEADER } from './fixed-header.ts'
import type { GatewayContext } from './gateway-context.ts'
import { HeldKeepAlive } from './held-keep-alive.ts'
import { OrderedPacket } from './ordered-packet.ts'
import { PACKET, REASON } from './packet-types.ts'
import { type Connack, readConnack, withoutServerReference } from './read-connack.ts'
import { type Connect, readConnect, rewriteConnect, type WillFields } from './read-connect.ts'
import { connackCode, disconnectCode, explainRefusal } from './refusal-codes.ts'
import { chargeWill, peekWill } from './will-rules.ts'
import {
  type Explanation,
  encodeDisconnect,
  encodeRefusedConnack,
  NORMAL_DISCONNECT_PACKET,
  toReturnCode,
} from './write-packets.ts'

/** Time for the CONNECT, and from it to the CONNACK with all AUTH packets between them. */
const CONNECT_WITHIN_MS = 10_000
const CONNACK_WITHIN_MS = 60_000

/** Maximum wait for acknowledgements of the broker before a client is disconnected. */
const ACKNOWLEDGE_WITHIN_MS = 5_000

/** Maximum wait for a socket to send its last bytes. */
const CLOSE_WITHIN_MS = 5_000

const UNKNOWN_SENDER: Sender = Object.freeze({})

/**
 * Phase of a connection: `connecting` until the CONNECT is decided, `dialing` until the broker is connected,
 * `authenticating` until its CONNACK, `open`, `closing` while last packets are sent, `closed`.
 */
type Phase = 'connecting' | 'dialing' | 'authenticating' | 'open' | 'closing' | 'closed'

/** A client connection and its connection to the broker. */
export class GatewayConnection implements ClientConnection, BrokerConnection {
  readonly context: GatewayContext
  readonly toBroker: PacketPipe
  publishes: ClientPublishes | undefined
  subscriptions: ClientSubscriptions | undefined
  deliveries: ClientDeliveries | undefined
  sender: Sender = UNKNOWN_SENDER
  isV5 = false
  clientMaxBytes = Number.POSITIVE_INFINITY
  readonly #client: Duplex
  readonly #peer: ClientPeer
  readonly #onClosed: (connection: GatewayConnection) => void
  readonly #queue: SenderQueue
  #toClient: PacketPipe | undefined
  #upstream: Duplex | undefined
  #phase: Phase = 'connecting'
  #identity: ClientIdentity | undefined
  #will: WillFields | undefined
  #wantsExplanations = false
  #keepAliveMs = 0
  #clientAliasMaximum = 0
  /** Decision about the accepted connect, while its CONNACK waits for it. */
  #connectDecision: Decision | undefined
  #hasDisconnectFromBroker = false
  #isClientGone = false
  /** DISCONNECT of the client, which waits for its messages. */
  #lastPacket: Buffer | undefined
  #cancelTimer: () => void
  #keepAlive: HeldKeepAlive | undefined
  readonly #queueHooks: SenderQueueHooks = {
    onPause: () => this.toBroker.block('held'),
    onResume: () => {
      if (this.#queue.heldOwn === 0) this.toBroker.unblock('held')
    },
    onQueued: () => {
      if (this.#queue.queued >= this.context.settings.maxQueuedPerSender) this.toBroker.block('queueFull')
    },
    onDequeued: () => {
      if (this.#queue.queued <= this.context.settings.maxQueuedPerSender / 2)
        this.toBroker.unblock('queueFull')
    },
  }
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
    this.#queue = guard.senderQueue(this.#queueHooks, { waitsFully: true })
    this.#cancelTimer = guard.clock.after(CONNECT_WITHIN_MS, () => this.#destroy())
    // 'close' follows.
    client.on('error', err => context.logger.debug({ err }, 'connection of a client failed'))
    client.on('end', () => this.#onClientEnd())
    client.on('close', () => this.#onClientEnd())
    this.toBroker = new PacketPipe(
      client,
      new ClientPackets(this),
      FIXED_HEADER,
      settings.maxPacketBytes,
      guard.clock,
      clientPauses,
    )
  }

  get toClient(): PacketPipe {
    return this.#toClient!
  }

  get isOpen(): boolean {
    return this.#phase === 'open'
  }

  get isAuthenticating(): boolean {
    return this.#phase === 'authenticating'
  }

  get isClosing(): boolean {
    return this.#phase === 'closing' || this.#phase === 'closed'
  }

  get clientId(): string | undefined {
    return this.#phase === 'open' ? this.sender.client : undefined
  }

  answer(packet: Buffer, code: number): void {
    this.context.countAnswer(packet[0]! >> 4, code)
    if (this.#toClient !== undefined) this.#toClient.insert(packet)
    else if (this.#client.writable) this.#client.write(packet)
  }

  explain(decision: Decision): Explanation | undefined {
    return this.#wantsExplanations ? explainRefusal(this.context.gate, decision, this.sender) : undefined
  }

  decideFirstPacket(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    if (bytes[start]! >> 4 !== PACKET.connect) {
      this.onProblem('malformed')
      return STOP
    }
    if (end - start > MAX_SIZES.connectBytes) {
      this.onProblem('too large')
      return STOP
    }
    if (bytes.length < end) return end - start
    const connect = readConnect(Buffer.from(bytes.subarray(start, end)), body - start)
    if (connect === undefined) {
      this.onProblem('malformed')
      return STOP
    }
    this.toBroker.block('notOpen')
    this.#onConnect(connect)
    return SKIP
  }

  decideConnack(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    if (bytes.length < end) return end - start
    const connack = readConnack(bytes, body, end, this.isV5)
    if (connack === undefined) {
      this.onProblem('malformed')
      return STOP
    }
    const changed =
      this.isV5 && !this.context.settings.advertise
        ? withoutServerReference(bytes, start, body + 1, end)
        : undefined
    if (changed !== undefined) this.context.countRewrite(PACKET.connack)
    const packet = changed ?? bytes.subarray(start, end)
    if (connack.reasonCode !== 0) {
      this.context.counters.connectsFailed++
      this.context.connects.chargeFailure(this.sender.ip)
      this.toClient.insert(packet)
      this.#phase = 'closing'
      this.#endSoon()
      return SKIP
    }
    if (this.#connectDecision === undefined) {
      this.sender = this.#identity!.accept(connack.assignedClientId)
      this.toClient.block('notOpen')
      this.context.connects.charge(this.sender, answer => {
        this.#connectDecision = answer
        this.toClient.unblock('notOpen')
      })
    }
    const decision = this.#connectDecision
    if (decision === undefined) return STOP
    if (!decision.allowed) this.#refuseConnect(decision)
    else this.#open(connack, packet)
    return SKIP
  }

  sendInOrder(packet: Buffer): boolean {
    if (this.#queue.held === 0) return false
    const send = (_: Decision, ordered: OrderedPacket): void => this.toBroker.insert(ordered.packet)
    this.#queue.admit(new OrderedPacket(this.sender, Buffer.from(packet)), send, () => PASSED)
    return true
  }

  disconnectInOrder(packet: Buffer): boolean {
    if (this.#queue.pending === 0) return false
    this.#lastPacket = Buffer.from(packet)
    this.#onClientEnd()
    return true
  }

  handlePingresp(): boolean {
    return this.#keepAlive?.handlePingresp() === true
  }

  onBrokerDisconnect(): void {
    this.#hasDisconnectFromBroker = true
  }

  disconnect(decision: Decision): void {
    if (this.isClosing) return
    this.context.counters.disconnected++
    this.#phase = 'closing'
    this.toBroker.block('draining')
    const finish = (): void => {
      if (this.isV5) {
        const code = disconnectCode(decision)
        this.answer(encodeDisconnect(code, this.explain(decision), this.clientMaxBytes), code)
      }
      // Otherwise the broker publishes the will.
      if (decision.reason === 'banned') this.#upstream?.write(NORMAL_DISCONNECT_PACKET)
      this.#endSoon()
    }
    this.#whenAcknowledged(ACKNOWLEDGE_WITHIN_MS, finish)
  }

  onProblem(problem: PacketProblem): void {
    // Else the packet would be read again and again.
    this.toBroker.block('draining')
    this.#toClient?.block('draining')
    if (this.isClosing) return
    const { counters } = this.context
    if (problem === 'malformed') counters.malformed++
    else counters.oversized++
    const wasOpen = this.#phase === 'open'
    this.#phase = 'closing'
    // Later, because packets before this one may not be forwarded yet.
    setImmediate(() => {
      if (this.isV5 && wasOpen) {
        const code = problem === 'malformed' ? REASON.malformedPacket : REASON.packetTooLarge
        this.answer(encodeDisconnect(code, undefined, this.clientMaxBytes), code)
      }
      this.#endSoon()
    })
  }

  /**
   * Ends the connection. Held messages may pass for at most `withinMs`, and forwarded ones are acknowledged. Resolves
   * when both sockets are closed.
   */
  drain(withinMs: number): Promise<void> {
    return new Promise(resolve => {
      if (this.#phase === 'closed') {
        resolve()
        return
      }
      this.#onDrained = resolve
      if (this.#phase !== 'open') {
        this.#refuseConnectWith(REASON.serverUnavailable, undefined)
        return
      }
      this.toBroker.block('draining')
      this.#whenIdle(withinMs, () => {
        if (this.isClosing) return
        this.#phase = 'closing'
        if (this.isV5) {
          const code = REASON.serverShuttingDown
          this.answer(encodeDisconnect(code, undefined, this.clientMaxBytes), code)
        }
        this.#upstream?.write(NORMAL_DISCONNECT_PACKET)
        this.#endSoon()
      })
    })
  }

  #onConnect(connect: Connect): void {
    this.isV5 = connect.version === 5
    this.clientMaxBytes = connect.maxPacketBytes
    this.#wantsExplanations = this.isV5 && connect.wantsProblemInformation
    this.#keepAliveMs = connect.keepAliveS * 1_000
    this.#clientAliasMaximum = connect.topicAliasMaximum
    const identity = new ClientIdentity(this.context, connect, this.#peer)
    this.#identity = identity
    this.sender = identity.claimed
    this.#cancelTimer()
    this.#cancelTimer = this.context.guard.clock.after(CONNACK_WITHIN_MS, () => this.#destroy())
    if (connect.clientId.length > MAX_SIZES.hashedChars) {
      this.#refuseConnectWith(REASON.clientIdInvalid, undefined)
      return
    }
    this.context.connects.admit(this.sender, (decision, message) => {
      if (this.#phase !== 'connecting') return
      if (!decision.allowed) {
        this.context.refusals.recordRefusal(message, decision)
        this.#refuseConnect(decision)
        return
      }
      this.#phase = 'dialing'
      void this.#dial(connect, identity)
    })
  }

  async #dial(connect: Connect, { client, commonName }: ClientIdentity): Promise<void> {
    const { counters, settings, logger } = this.context
    const withoutWill = await this.#mustRemoveWill(connect)
    let upstream: Duplex
    try {
      upstream = await settings.connectUpstream(client)
    } catch (err) {
      counters.upstreamConnectsFailed++
      logger.warn({ err, client: client.clientId }, 'no connection to the broker')
      if (this.#phase === 'dialing') this.#refuseConnectWith(REASON.serverUnavailable, undefined)
      return
    }
    counters.upstreamConnects++
    if (this.#phase !== 'dialing') {
      upstream.on('error', () => {})
      upstream.destroy()
      return
    }
    this.#phase = 'authenticating'
    this.#connectPipes(upstream)
    const isChanged = withoutWill || commonName !== undefined
    if (isChanged) this.context.countRewrite(PACKET.connect)
    this.toBroker.insert(
      isChanged ? rewriteConnect(connect, { withoutWill, username: commonName }) : connect.packet,
    )
    this.#will = withoutWill ? undefined : connect.will
  }

  async #mustRemoveWill({ will }: Connect): Promise<boolean> {
    const { settings, counters } = this.context
    if (will === undefined || settings.wills === 'pass') return false
    if (settings.wills === 'check') {
      const answer = peekWill(this.context, this.sender, will)
      const refusal = isPromise(answer) ? await answer : answer
      if (refusal === undefined) return false
    }
    counters.willsRefused++
    return true
  }

  #connectPipes(upstream: Duplex): void {
    const { guard, settings, brokerPauses } = this.context
    this.#upstream = upstream
    upstream.on('error', err => this.context.logger.debug({ err }, 'connection to the broker failed'))
    upstream.on('end', () => this.#onUpstreamEnd())
    upstream.on('close', () => this.#onUpstreamEnd())
    const toClient = new PacketPipe(
      upstream,
      new BrokerPackets(this),
      FIXED_HEADER,
      settings.maxPacketBytes,
      guard.clock,
      brokerPauses,
    )
    this.#toClient = toClient
    toClient.reverse = this.toBroker
    this.toBroker.reverse = toClient
    toClient.setOutput(this.#client)
    this.toBroker.setOutput(upstream)
  }

  #open(connack: Connack, packet: Buffer): void {
    const { context } = this
    const { settings } = context
    this.#cancelTimer()
    if (connack.serverKeepAliveS !== undefined) this.#keepAliveMs = connack.serverKeepAliveS * 1_000
    this.publishes = new ClientPublishes(this, this.#queue, {
      window: this.isV5 ? (connack.receiveMaximum ?? 65_535) : settings.window,
      topicAliasMaximum: connack.topicAliasMaximum,
      isSessionPresent: connack.isSessionPresent,
    })
    this.subscriptions = new ClientSubscriptions(this, this.#queue)
    this.deliveries = new ClientDeliveries(this, this.#createDeliveryQueue(), this.#clientAliasMaximum)
    if (this.#will !== undefined && settings.wills === 'check') chargeWill(context, this.sender, this.#will)
    this.#will = undefined
    this.#phase = 'open'
    this.toClient.insert(packet)
    this.#keepAlive = new HeldKeepAlive(context.guard.clock, this.toBroker, this.#keepAliveMs, () =>
      this.#closeSilentClient(),
    )
    this.toBroker.unblock('notOpen')
    if (this.#isClientGone) this.#endWhenIdle()
  }

  #createDeliveryQueue(): SenderQueue {
    return this.context.guard.senderQueue({
      onPause: () => this.toClient.block('held'),
      onResume: () => this.toClient.unblock('held'),
    })
  }

  #closeSilentClient(): void {
    if (this.isClosing) return
    this.#phase = 'closing'
    if (this.isV5) {
      const code = REASON.keepAliveTimeout
      this.answer(encodeDisconnect(code, undefined, this.clientMaxBytes), code)
    }
    this.#endSoon()
  }

  #refuseConnect(decision: Decision): void {
    this.context.counters.connectsRefused++
    if (decision.outcome === 'disconnect' && this.#phase === 'connecting') {
      this.#phase = 'closing'
      this.#endSoon()
      return
    }
    this.#refuseConnectWith(connackCode(decision), this.explain(decision))
  }

  #refuseConnectWith(reasonCode: number, explanation: Explanation | undefined): void {
    if (this.isClosing) return
    const code = this.isV5 ? reasonCode : toReturnCode(reasonCode)
    if (this.#identity !== undefined)
      this.answer(encodeRefusedConnack(this.isV5, code, explanation, this.clientMaxBytes), code)
    // The broker must not publish the will of a client that it was told to forget.
    if (this.#phase === 'authenticating') this.#upstream?.write(NORMAL_DISCONNECT_PACKET)
    this.#phase = 'closing'
    this.#endSoon()
  }

  #whenAcknowledged(withinMs: number, run: () => void): void {
    this.#when(withinMs, run, () => this.publishes?.isAcknowledged !== false)
  }

  #whenIdle(withinMs: number, run: () => void): void {
    this.#when(withinMs, run, () => this.publishes?.isIdle !== false)
  }

  /** Calls `run` once when the publishes are done, or too late. */
  #when(withinMs: number, run: () => void, isDone: () => boolean): void {
    const { publishes, context } = this
    // Later, because packets before the current one may not be forwarded yet.
    if (publishes === undefined || isDone()) {
      setImmediate(run)
      return
    }
    let isFinished = false
    const finish = (): void => {
      if (isFinished) return
      isFinished = true
      cancel()
      publishes.onIdle = undefined
      run()
    }
    const cancel = context.guard.clock.after(withinMs, finish)
    // Later, because the last acknowledgement is still being forwarded.
    publishes.onIdle = () =>
      void setImmediate(() => {
        if (isDone()) finish()
      })
  }

  /** Handles the end of the client. Messages of QoS 0 that it sent before still pass in their turn. */
  #onClientEnd(): void {
    if (this.#phase === 'closed' || this.#isClientGone) return
    this.#isClientGone = true
    // Messages may wait for the CONNACK.
    const isConnecting = this.publishes === undefined && !this.isClosing
    if (!isConnecting || !this.toBroker.hasUnread) this.#endWhenIdle()
  }

  #endWhenIdle(): void {
    if (!this.isClosing && this.publishes !== undefined) {
      this.publishes.handleClientGone(this.#queueHooks)
      this.toBroker.unblock('held')
    }
    const isDone = (): boolean => this.publishes?.isIdle !== false && !this.toBroker.hasUnread
    const end = (): void => {
      // Without a DISCONNECT the broker publishes the will.
      if (this.#lastPacket !== undefined) this.toBroker.insert(this.#lastPacket)
      this.#endSoon()
    }
    this.#when(MAX_SIZES.holdMs, end, isDone)
  }

  #onUpstreamEnd(): void {
    if (this.#phase === 'closed') return
    if (this.#phase === 'open' && this.isV5 && !this.#hasDisconnectFromBroker) {
      const code = REASON.serverShuttingDown
      this.answer(encodeDisconnect(code, undefined, this.clientMaxBytes), code)
    }
    this.#endSoon()
  }

  /** Ends both sockets after their last bytes. */
  #endSoon(): void {
    if (this.#phase === 'closed') return
    this.#client.end()
    this.#upstream?.end()
    this.#close()
    this.#destroySoon()
  }

  #destroySoon(): void {
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
    this.#keepAlive?.close()
    const { counters } = this.context
    counters.bytesFromClients += this.toBroker.receivedBytes
    counters.bytesFromBroker += this.#toClient?.receivedBytes ?? 0
    this.publishes?.close()
    this.deliveries?.close()
    if (this.publishes === undefined) this.#queue.detach()
    this.toBroker.close()
    this.#toClient?.close()
    this.#onClosed(this)
    this.#onDrained?.()
  }
}
