import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { createSender } from '../../src/chain/senders/sender-state.ts'
import { canonicalIp } from '../../src/conditions/cidr.ts'
import type { Decision } from '../../src/core/decision.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Sender } from '../../src/core/message.ts'
import type { ClientPeer } from '../../src/gateway/client-peer.ts'
import { GatewayConnection, LAST_CHECKS_MS } from '../../src/gateway/gateway-connection.ts'
import { identifyClient } from '../../src/gateway/gateway-options.ts'
import { sendInOrder } from '../../src/gateway/ordered-packet.ts'
import type { PacketPipe } from '../../src/gateway/packet-pipe.ts'
import type { PacketProblem } from '../../src/gateway/packet-walker.ts'
import { runWhenDone } from '../../src/gateway/run-when-done.ts'
import { ClientDeliveries } from './client-deliveries.ts'
import { type ClientConnection, ClientLines } from './client-lines.ts'
import { ClientPublishes } from './client-publishes.ts'
import { ClientSubscriptions } from './client-subscriptions.ts'
import { ControlLine } from './control-line.ts'
import type { NatsGatewayContext } from './gateway-context.ts'
import { GatewayPing } from './gateway-ping.ts'
import { encodeInfo, readInfo, rewriteInfo, type ServerInfo } from './info.ts'
import { signNonce } from './nkeys.ts'
import { addProxySignature, type Connect, readConnect } from './read-connect.ts'
import { type ServerConnection, ServerLines } from './server-lines.ts'
import { SubscriptionTable } from './subscription-table.ts'
import { encodeError, encodeUnsubscribe, OK_LINE, PING_LINE } from './write-lines.ts'

/** Level of the API from which on servers know trusted proxies. */
const PROXY_API_LEVEL = 2

/** Payload limit of servers that name none. */
const DEFAULT_PAYLOAD_BYTES = 1_048_576

// Shared by all connections, because each header is read only until the next one.
const SERVER_LINE = new ControlLine(MAX_SIZES.natsServerLineBytes)

const MAX_CLIENT_PACKET_BYTES = MAX_SIZES.natsPayloadBytes + MAX_SIZES.natsClientLineBytes
const MAX_SERVER_PACKET_BYTES = MAX_SIZES.natsPayloadBytes + MAX_SIZES.natsServerLineBytes

/** A client connection and its connection to the server. */
export class NatsGatewayConnection
  extends GatewayConnection<NatsGatewayContext>
  implements ClientConnection, ServerConnection
{
  readonly toBroker: PacketPipe
  readonly subscriptionTable = new SubscriptionTable()
  publishes: ClientPublishes | undefined
  subscriptions: ClientSubscriptions | undefined
  deliveries: ClientDeliveries | undefined
  maxPayloadBytes = 0
  isVerbose = false
  hasHeaders = false
  readonly #gatewayPing = new GatewayPing()
  #info: ServerInfo | undefined
  #acceptsInfo = false
  #isTlsStarted = false
  /** +OK lines that confirm lines of the gateway. */
  #ownOks = 0
  /** Checks whether the end of the connection need not wait any more. */
  #checkIdle: (() => void) | undefined

  constructor(context: NatsGatewayContext, client: Duplex, peer: ClientPeer, onClosed: () => void) {
    super(context, client, peer, 'greeting', onClosed)
    this.queue.onIdle = () => this.#checkIdle?.()
    const line = new ControlLine(MAX_SIZES.natsClientLineBytes)
    this.toBroker = this.createClientPipe(new ClientLines(this, line), line, MAX_CLIENT_PACKET_BYTES)
    this.toBroker.block('notOpen')
    // TLS begins behind the INFO, and reads the socket itself.
    if (peer.startTls === undefined) this.toBroker.setInput(client)
    void this.#dial()
  }

  confirm(): void {
    if (this.isVerbose) this.toClient.insert(OK_LINE)
  }

  unsubscribe(sid: string, maximum: number): void {
    if (this.isVerbose) this.#ownOks++
    this.toBroker.insert(encodeUnsubscribe(sid, maximum))
  }

  handleInfo(line: string): void {
    const info = readInfo(line)
    if (info === undefined) {
      this.onProblem('malformed')
      return
    }
    const { context } = this
    if (info.tls_required === true && (this.upstream as Partial<TLSSocket>).encrypted !== true) {
      context.logger.warn(
        {},
        'the NATS server requires TLS (connect to it with TLS, as by --upstream tls://)',
      )
      this.endSoon()
      return
    }
    this.#info = info
    this.maxPayloadBytes = Math.min(
      typeof info.max_payload === 'number' ? info.max_payload : DEFAULT_PAYLOAD_BYTES,
      context.settings.maxPayloadBytes,
    )
    const { startTls } = this.peer
    if (this.phase !== 'greeting') this.#sendInfo(info)
    else if (startTls === undefined) {
      this.#sendInfo(info)
      this.#expectConnect()
    } else if (!this.#isTlsStarted) {
      this.#isTlsStarted = true
      this.#sendInfo(info)
      // The INFO leaves the socket first.
      setImmediate(() =>
        startTls(stream => {
          if (this.isClosing) {
            stream.destroy()
            return
          }
          this.replaceClient(stream)
          this.#expectConnect()
        }),
      )
    }
  }

  #expectConnect(): void {
    this.phase = 'connecting'
    this.toBroker.unblock('notOpen')
  }

  handleConnect(line: Buffer): void {
    this.toBroker.block('notOpen')
    const connect = readConnect(line, this.#info?.nonce)
    if (connect === undefined) {
      this.#refuse('Authorization Violation')
      return
    }
    this.isVerbose = connect.isVerbose
    this.hasHeaders = connect.acceptsHeaders && this.#info?.headers === true
    this.#acceptsInfo = connect.acceptsInfo
    this.sender = this.#createSender(connect)
    this.admitConnect(() => {
      this.phase = 'authenticating'
      this.toBroker.insert(this.#sign(connect.line))
      // Only the answer shows that the server has accepted the CONNECT.
      this.#sendPing()
    })
  }

  handleClientPing(line: Buffer): boolean {
    if (this.queue.held === 0) {
      this.#gatewayPing.countClientPing()
      return false
    }
    this.sendInOrder(line, () => this.#gatewayPing.countClientPing())
    return true
  }

  sendInOrder(line: Buffer, onSend: () => void): void {
    const copy = Buffer.from(line)
    sendInOrder(this.queue, this.sender, copy.length, () => {
      if (this.isClosing) return
      onSend()
      this.toBroker.insert(copy)
    })
  }

  handlePong(): boolean {
    if (!this.#gatewayPing.handlePong()) return false
    if (this.phase === 'authenticating') this.#onAccepted()
    return true
  }

  handleOk(): boolean {
    if (this.#ownOks === 0 || this.phase !== 'open') return false
    this.#ownOks--
    return true
  }

  handleError(): void {
    if (this.phase !== 'authenticating') return
    this.context.counters.connectsFailed++
    this.context.connects.chargeFailure(this.sender.ip)
  }

  disconnect(decision: Decision): void {
    if (this.isClosing) return
    this.context.counters.disconnected++
    if (decision.reason === 'banned') this.#refuse('Authorization Violation')
    else this.#closeSoon()
  }

  protected endAfterProblem(problem: PacketProblem): void {
    this.#refuse(problem === 'malformed' ? 'Unknown Protocol Operation' : 'Maximum Payload Violation')
  }

  protected refuseUnavailable(): void {
    this.#closeSoon()
  }

  protected drainOpen(withinMs: number): void {
    // Clients that understand it connect elsewhere.
    if (this.#acceptsInfo && this.#info !== undefined) this.#sendInfo({ ...this.#info, ldm: true })
    this.#whenIdle(withinMs, () => {
      this.queue.endHolding()
      this.#whenIdle(LAST_CHECKS_MS, () => {
        if (this.isClosing) return
        // Answered when the server has handled all that was sent before.
        this.#gatewayPing.onPong = () => this.#closeSoon()
        this.#sendPing()
        this.endAfter(withinMs, () => this.#closeSoon())
      })
    })
  }

  async #dial(): Promise<void> {
    const upstream = await this.dial(() => this.context.settings.connectUpstream({ peer: this.peer }))
    if (upstream !== undefined)
      this.connectPipes(upstream, new ServerLines(this, SERVER_LINE), SERVER_LINE, MAX_SERVER_PACKET_BYTES)
    else if (this.phase === 'greeting') this.destroy()
  }

  #sendInfo(info: ServerInfo): void {
    const { advertise } = this.context.settings
    const { ip, tls, startTls } = this.peer
    const rewritten = rewriteInfo(info, {
      clientIp: canonicalIp(ip),
      isTls: (tls ?? startTls) !== undefined,
      maxPayloadBytes: this.maxPayloadBytes,
      advertise,
    })
    this.toClient.insert(encodeInfo(rewritten))
  }

  /** Signs a CONNECT as a trusted proxy, if the server knows such proxies. */
  #sign(line: Buffer): Buffer {
    const { proxyKey } = this.context.settings
    const { nonce, api_lvl: apiLevel = 0 } = this.#info ?? {}
    if (proxyKey === undefined || nonce === undefined || apiLevel < PROXY_API_LEVEL) return line
    return addProxySignature(line, signNonce(proxyKey, nonce))
  }

  #createSender(connect: Connect): Sender {
    const { settings, logger } = this.context
    const { ip, port } = this.peer
    return createSender({
      client: connect.name ?? (port === undefined ? ip : `${ip}:${port}`),
      user: connect.user,
      ip: canonicalIp(ip),
      ...identifyClient(settings.identify, { ...connect, peer: this.peer }, connect.name, logger),
    })
  }

  #sendPing(): void {
    this.#gatewayPing.countGatewayPing()
    this.toBroker.insert(PING_LINE)
  }

  #onAccepted(): void {
    this.context.connects.charge(this.sender, decision => this.#decideAccepted(decision))
  }

  #decideAccepted(decision: Decision): void {
    if (this.phase !== 'authenticating') return
    if (!decision.allowed) {
      this.refuseConnect(decision)
      return
    }
    this.publishes = new ClientPublishes(this, this.queue)
    this.subscriptions = new ClientSubscriptions(this, this.queue)
    this.deliveries = new ClientDeliveries(this, this.createDeliveryQueue())
    this.open()
    this.toBroker.unblock('notOpen')
    this.#checkIdle?.()
  }

  protected refuseConnect(decision: Decision): void {
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
    this.phase = 'closing'
    this.toBroker.block('draining')
    setImmediate(() => {
      if (lastLine !== undefined) {
        if (this.upstream !== undefined) this.toClient.insert(lastLine)
        else if (this.client.writable) this.client.write(lastLine)
      }
      this.endSoon()
    })
  }

  /** Messages that the client sent before still pass in their turn. */
  protected handleClientGone(): void {
    this.#whenIdle(MAX_SIZES.holdMs, () => this.endSoon())
  }

  protected handleUpstreamEnd(): void {
    this.endSoon()
  }

  protected handleClosed(): void {
    this.deliveries?.close()
  }

  /** Calls `run` once when no message of the client is held or unread, or too late. */
  #whenIdle(withinMs: number, run: () => void): void {
    this.#checkIdle = runWhenDone(this.context.guard.clock, withinMs, () => this.#isIdle, run)
  }

  get #isIdle(): boolean {
    if (this.phase === 'authenticating' || this.queue.pending > 0) return false
    // While the gateway closes, unread bytes are not waited for.
    return this.isClosing || this.toBroker.isBlockedBy('draining') || !this.toBroker.hasUnread
  }
}
