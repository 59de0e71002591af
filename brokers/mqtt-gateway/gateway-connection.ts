import type { Duplex } from 'node:stream'
import type { Decision } from '../../src/core/decision.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import { isPromise } from '../../src/core/maybe-promise.ts'
import type { ClientPeer } from '../../src/gateway/client-peer.ts'
import { GatewayConnection, LAST_CHECKS_MS } from '../../src/gateway/gateway-connection.ts'
import { sendInOrder } from '../../src/gateway/ordered-packet.ts'
import type { PacketPipe } from '../../src/gateway/packet-pipe.ts'
import { type PacketProblem, type PacketVerdict, SKIP, STOP } from '../../src/gateway/packet-walker.ts'
import { runWhenDone } from '../../src/gateway/run-when-done.ts'
import { type BrokerConnection, BrokerPackets } from './broker-packets.ts'
import { ClientDeliveries } from './client-deliveries.ts'
import { ClientIdentity } from './client-identity.ts'
import { type ClientConnection, ClientPackets } from './client-packets.ts'
import { ClientPublishes } from './client-publishes.ts'
import { ClientSubscriptions } from './client-subscriptions.ts'
import { FIXED_HEADER } from './fixed-header.ts'
import type { MqttGatewayContext } from './gateway-context.ts'
import { HeldKeepAlive } from './held-keep-alive.ts'
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

/** Maximum wait for acknowledgements of the broker before a client is disconnected. */
const ACKNOWLEDGE_WITHIN_MS = 5_000

/** Maximum wait for the CONNACK of a client that has sent messages and is gone. */
const CONNACK_AFTER_CLIENT_MS = 10_000

/** A client connection and its connection to the broker. */
export class MqttGatewayConnection
  extends GatewayConnection<MqttGatewayContext>
  implements ClientConnection, BrokerConnection
{
  readonly toBroker: PacketPipe
  publishes: ClientPublishes | undefined
  subscriptions: ClientSubscriptions | undefined
  deliveries: ClientDeliveries | undefined
  isV5 = false
  clientMaxBytes = Number.POSITIVE_INFINITY
  #identity: ClientIdentity | undefined
  #will: WillFields | undefined
  #wantsExplanations = false
  #keepAliveMs = 0
  #clientAliasMaximum = 0
  /** Decision about the accepted connect, while its CONNACK waits for it. */
  #connectDecision: Decision | undefined
  #hasDisconnectFromBroker = false
  /** Reason code of the DISCONNECT after a malformed packet. */
  #malformedCode: number = REASON.malformedPacket
  /** DISCONNECT of the client, which waits for its messages. */
  #lastPacket: Buffer | undefined
  #keepAlive: HeldKeepAlive | undefined

  constructor(context: MqttGatewayContext, client: Duplex, peer: ClientPeer, onClosed: () => void) {
    super(context, client, peer, 'connecting', onClosed)
    const { maxPacketBytes } = context.settings
    this.toBroker = this.createClientPipe(new ClientPackets(this), FIXED_HEADER, maxPacketBytes)
    this.toBroker.setInput(client)
  }

  get isAuthenticating(): boolean {
    return this.phase === 'authenticating'
  }

  answer(packet: Buffer, code: number): void {
    this.context.countAnswer(packet[0]! >> 4, code)
    if (this.upstream !== undefined) this.toClient.insert(packet)
    else if (this.client.writable) this.client.write(packet)
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
      this.phase = 'closing'
      this.endSoon()
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
    if (!decision.allowed) this.refuseConnect(decision)
    else this.#open(connack, packet)
    return SKIP
  }

  sendInOrder(packet: Buffer): boolean {
    if (this.queue.held === 0) return false
    const copy = Buffer.from(packet)
    sendInOrder(this.queue, this.sender, copy.length, () => this.toBroker.insert(copy))
    return true
  }

  disconnectInOrder(packet: Buffer): boolean {
    if (this.queue.pending === 0) return false
    this.#lastPacket = Buffer.from(packet)
    this.endClient()
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
    this.phase = 'closing'
    this.toBroker.block('draining')
    const finish = (): void => {
      if (this.isV5) {
        const code = disconnectCode(decision)
        this.answer(encodeDisconnect(code, this.explain(decision), this.clientMaxBytes), code)
      }
      // Otherwise the broker publishes the will.
      if (decision.reason === 'banned') this.toBroker.insert(NORMAL_DISCONNECT_PACKET)
      this.endSoon()
    }
    this.#whenAcknowledged(ACKNOWLEDGE_WITHIN_MS, finish)
  }

  onProtocolError(code: number): void {
    this.#malformedCode = code
    this.onProblem('malformed')
  }

  protected endAfterProblem(problem: PacketProblem): void {
    const wasOpen = this.phase === 'open'
    this.phase = 'closing'
    // Later, because packets before this one may not be forwarded yet.
    setImmediate(() => {
      if (this.isV5 && wasOpen) {
        const code = problem === 'malformed' ? this.#malformedCode : REASON.packetTooLarge
        this.answer(encodeDisconnect(code, undefined, this.clientMaxBytes), code)
      }
      this.endSoon()
    })
  }

  protected refuseUnavailable(): void {
    this.#refuseConnectWith(REASON.serverUnavailable, undefined)
  }

  protected drainOpen(withinMs: number): void {
    this.#whenRead(withinMs, () => {
      if (this.isClosing) return
      // Those of QoS 1 and 2 stay with the client.
      this.#keepOnlyQos0()
      this.queue.endHolding()
      this.#whenRead(LAST_CHECKS_MS, () => this.#shutDown())
    })
  }

  #shutDown(): void {
    if (this.isClosing) return
    this.phase = 'closing'
    if (this.isV5) {
      const code = REASON.serverShuttingDown
      this.answer(encodeDisconnect(code, undefined, this.clientMaxBytes), code)
    }
    this.toBroker.insert(NORMAL_DISCONNECT_PACKET)
    this.endSoon()
  }

  #onConnect(connect: Connect): void {
    this.isV5 = connect.version === 5
    this.clientMaxBytes = connect.maxPacketBytes
    this.#wantsExplanations = this.isV5 && connect.wantsProblemInformation
    this.#keepAliveMs = connect.keepAliveS * 1_000
    this.#clientAliasMaximum = connect.topicAliasMaximum
    const identity = new ClientIdentity(this.context, connect, this.peer)
    this.#identity = identity
    this.sender = identity.claimed
    if (connect.clientId.length > MAX_SIZES.hashedChars) {
      this.#refuseConnectWith(REASON.clientIdInvalid, undefined)
      return
    }
    this.admitConnect(() => {
      this.phase = 'dialing'
      void this.#dial(connect, identity)
    })
  }

  async #dial(connect: Connect, { client, commonName }: ClientIdentity): Promise<void> {
    const { settings } = this.context
    const withoutWill = await this.#mustRemoveWill(connect)
    const upstream = await this.dial(() => settings.connectUpstream(client))
    if (upstream === undefined) {
      if (this.phase === 'dialing') this.#refuseConnectWith(REASON.serverUnavailable, undefined)
      return
    }
    this.phase = 'authenticating'
    this.connectPipes(upstream, new BrokerPackets(this), FIXED_HEADER, settings.maxPacketBytes)
    const isChanged = withoutWill || commonName !== undefined
    if (isChanged) this.context.countRewrite(PACKET.connect)
    this.toBroker.insert(
      isChanged ? rewriteConnect(connect, { withoutWill, username: commonName }) : connect.packet,
    )
    this.#will = withoutWill ? undefined : connect.will
  }

  async #mustRemoveWill({ will }: Connect): Promise<boolean> {
    const { settings } = this.context
    if (will === undefined || settings.wills === 'pass') return false
    if (settings.wills === 'check') {
      const answer = peekWill(this.context, this.sender, will)
      const refusal = isPromise(answer) ? await answer : answer
      if (refusal === undefined) return false
    }
    this.context.willsRefused++
    return true
  }

  #open(connack: Connack, packet: Buffer): void {
    const { context } = this
    const { settings } = context
    if (connack.serverKeepAliveS !== undefined) this.#keepAliveMs = connack.serverKeepAliveS * 1_000
    this.publishes = new ClientPublishes(this, this.queue, {
      window: this.isV5 ? (connack.receiveMaximum ?? 65_535) : settings.window,
      topicAliasMaximum: connack.topicAliasMaximum,
      isSessionPresent: connack.isSessionPresent,
    })
    this.subscriptions = new ClientSubscriptions(this, this.queue)
    this.deliveries = new ClientDeliveries(this, this.createDeliveryQueue(), this.#clientAliasMaximum)
    if (this.#will !== undefined && settings.wills === 'check') chargeWill(context, this.sender, this.#will)
    this.#will = undefined
    this.open()
    this.toClient.insert(packet)
    this.#keepAlive = new HeldKeepAlive({
      clock: context.guard.clock,
      toBroker: this.toBroker,
      toClient: this.toClient,
      keepAliveMs: this.#keepAliveMs,
      onSilentClient: () => this.#closeSilentClient(),
      onSilentBroker: () => this.handleUpstreamEnd(),
    })
    this.toBroker.unblock('notOpen')
    if (this.isClientGone) this.#endWhenIdle()
  }

  #closeSilentClient(): void {
    if (this.isClosing) return
    this.phase = 'closing'
    if (this.isV5) {
      const code = REASON.keepAliveTimeout
      this.answer(encodeDisconnect(code, undefined, this.clientMaxBytes), code)
    }
    this.endSoon()
  }

  protected refuseConnect(decision: Decision): void {
    this.context.counters.connectsRefused++
    if (decision.outcome === 'disconnect' && this.phase === 'connecting') {
      this.phase = 'closing'
      this.endSoon()
      return
    }
    this.#refuseConnectWith(connackCode(decision), this.explain(decision))
  }

  #refuseConnectWith(reasonCode: number, explanation: Explanation | undefined): void {
    if (this.isClosing) return
    const code = this.isV5 ? reasonCode : toReturnCode(reasonCode)
    if (this.#identity !== undefined)
      this.answer(encodeRefusedConnack(this.isV5, code, explanation, this.clientMaxBytes), code)
    // A DISCONNECT makes the broker discard the will of a client that the gateway refuses.
    if (this.phase === 'authenticating' && this.upstream?.readableEnded === false)
      this.toBroker.insert(NORMAL_DISCONNECT_PACKET)
    this.phase = 'closing'
    this.endSoon()
  }

  #whenAcknowledged(withinMs: number, run: () => void): void {
    this.#when(withinMs, run, () => this.publishes?.isAcknowledged !== false)
  }

  /** Calls `run` when the messages are done that arrived before the gateway began to close. */
  #whenRead(withinMs: number, run: () => void): void {
    this.#when(withinMs, run, () => this.publishes?.isIdle !== false && this.toBroker.isBlockedBy('draining'))
  }

  /** Calls `run` once when the publishes are done, or too late. */
  #when(withinMs: number, run: () => void, isDone: () => boolean): void {
    const check = runWhenDone(this.context.guard.clock, withinMs, isDone, run)
    if (this.publishes !== undefined) this.publishes.onIdle = check
  }

  /** Messages of QoS 0 that the client sent before still pass in their turn. */
  protected handleClientGone(): void {
    const isConnecting = this.publishes === undefined && !this.isClosing
    // Messages may wait for the CONNACK, unless the connection was lost.
    if (isConnecting && this.toBroker.hasUnread && this.client.errored === null)
      this.endAfter(CONNACK_AFTER_CLIENT_MS, () => this.endSoon())
    else this.#endWhenIdle()
  }

  #endWhenIdle(): void {
    this.#keepOnlyQos0()
    const isDone = (): boolean =>
      this.publishes === undefined || (this.publishes.isIdle && !this.toBroker.hasUnread)
    const end = (): void => {
      // Without a DISCONNECT the broker publishes the will.
      if (this.#lastPacket !== undefined) this.toBroker.insert(this.#lastPacket)
      this.endSoon()
    }
    this.#when(MAX_SIZES.holdMs, end, isDone)
  }

  /** Discards the messages of QoS 1 and 2 that wait, and skips later ones. */
  #keepOnlyQos0(): void {
    if (this.isClosing || this.publishes === undefined) return
    this.publishes.keepOnlyQos0(this.queueHooks)
    this.toBroker.unblock('held')
  }

  protected handleUpstreamEnd(): void {
    if (this.phase === 'closed') return
    if (this.phase === 'authenticating') {
      this.refuseUnavailable()
      return
    }
    if (this.phase === 'open' && this.isV5 && !this.#hasDisconnectFromBroker) {
      const code = REASON.serverShuttingDown
      this.answer(encodeDisconnect(code, undefined, this.clientMaxBytes), code)
    }
    this.endSoon()
  }

  protected handleClosed(): void {
    this.#keepAlive?.close()
    this.publishes?.close()
    this.deliveries?.close()
  }
}
