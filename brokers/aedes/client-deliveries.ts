import type { Client } from 'aedes'
import type { Decision } from '../../src/core/decision.ts'
import type { MaybePromise, Sender } from '../../src/core/message.ts'
import type { SenderQueue } from '../../src/guard/guard.ts'
import { reuseDecisionOnce } from '../../src/guard/reuse-decision-once.ts'
import {
  type AedesDelivery,
  aedesClientInternals,
  brokerInternals,
  type ClientInternals,
  type Deliver,
  type DeliveryDone,
} from './aedes-internals.ts'
import type { BrokerContext } from './broker-context.ts'
import type { Connection } from './connection.ts'
import type { DeliveryHook } from './delivery-hook.ts'
import { AedesMessage } from './message.ts'
import { clientRefusalError } from './refusal-error.ts'

/** Time that other subscribers wait for a full socket, and time that a recovered socket stays under observation. */
const STALL_MS = 100
const WATCH_MS = 10_000

/** Bans of a gate, as all subscribers of a broker see them. */
export interface BanListVersion {
  readonly hasBans: boolean
  /** Incremented at each change, so that subscribers know when to look up their ban again. */
  readonly version: number
}

/** A delivery that aedes waits for. */
interface Pending {
  readonly done: DeliveryDone
  isDone: boolean
}

/** A delivery under decision, with everything needed to enact it. */
class DeliverMessage extends AedesMessage {
  declare readonly deliver: Deliver
  declare readonly original: AedesDelivery
  declare readonly forward: AedesDelivery
  /** Answers aedes; does nothing once aedes has been answered. */
  declare done: DeliveryDone
  declare isEnacted: boolean

  constructor(
    sender: Sender,
    forward: AedesDelivery,
    original: AedesDelivery,
    deliver: Deliver,
    done: DeliveryDone,
  ) {
    super('deliver', sender, forward)
    this.deliver = deliver
    this.original = original
    this.forward = forward
    this.done = done
    this.isEnacted = false
  }
}

const ignore = (): void => {}

/**
 * Decides about deliveries to one client. Replaces the client's `deliver0` and `deliverQoS`, which aedes calls for each
 * live and each retained message, so that a delivery can wait. Messages from a session's queue on reconnect are sent
 * another way and not limited.
 */
export class ClientDeliveries {
  readonly #context: BrokerContext
  readonly #hook: DeliveryHook
  readonly #bans: BanListVersion
  readonly #client: Client
  readonly #connection: Connection
  readonly #internals: ClientInternals
  readonly #deliverQoS: Deliver | undefined
  #senderQueue: SenderQueue | undefined
  #pending: Pending[] = []
  #pendingCount = 0
  /** True if the socket was full for a while: other subscribers no longer wait for it. */
  #isSlow = false
  #slowUntilMs = 0
  #cancelStall: (() => void) | undefined
  #awaitsDrain = false
  /** True while messages wait in the session's queue; later ones are added there until those are delivered. */
  #hasSessionBacklog = false
  #isCatchingUp = false
  #hasNewSessionMessages = false
  #ban: Decision | undefined
  #banVersion = -1

  constructor(
    context: BrokerContext,
    hook: DeliveryHook,
    bans: BanListVersion,
    client: Client,
    connection: Connection,
  ) {
    this.#context = context
    this.#hook = hook
    this.#bans = bans
    this.#client = client
    this.#connection = connection
    this.#internals = aedesClientInternals(client)
    const { deliver0, deliverQoS, waitForDrain } = this.#internals
    this.#deliverQoS = deliverQoS
    if (typeof deliver0 !== 'function' || typeof deliverQoS !== 'function') return
    this.#internals.deliver0 = (packet, done) => this.#handleDelivery(deliver0, packet, done)
    this.#internals.deliverQoS = (packet, done) =>
      this.#handleDelivery(packet.qos === 0 ? deliver0 : deliverQoS, packet, done)
    if (typeof waitForDrain !== 'function') return
    this.#internals.waitForDrain = done => {
      this.#onFull()
      waitForDrain.call(client, done)
    }
  }

  /** Refusal of a banned client. */
  get ban(): Decision | undefined {
    const { version } = this.#bans
    if (this.#banVersion !== version) {
      this.#banVersion = version
      this.#ban = this.#context.gate.banOf(this.#connection.sender)
    }
    return this.#ban
  }

  /** Applies a changed ban: closes the connection if the ban says so, delivers waiting messages if it was lifted. */
  applyBan(): void {
    const { ban } = this
    if (ban?.outcome === 'disconnect') this.#close(ban)
    else if (ban === undefined && this.#hasSessionBacklog && !this.#awaitsDrain) void this.#catchUp()
  }

  handleClose(): void {
    this.#cancelStall?.()
    this.#senderQueue?.detach(() => false)
  }

  #handleDelivery(deliver: Deliver, packet: AedesDelivery, done: DeliveryDone): void {
    const { counters } = this.#context
    if (!this.#hook.isAttached) {
      deliver(packet, done)
      return
    }
    // A session stores messages of QoS 1 and 2 before they are delivered.
    const isStoredInSession = deliver === this.#deliverQoS && this.#isStoredInSession(packet)
    if (this.#bans.hasBans && this.ban !== undefined) {
      counters.deliveriesRefused++
      if (isStoredInSession) this.#keepInSession(done)
      else setImmediate(done)
      this.applyBan()
      return
    }
    if (isStoredInSession && this.#hasSessionBacklog) {
      counters.frozen++
      this.#keepInSession(done)
      return
    }
    if (this.#hook.isLimited || isStoredInSession) this.#decide(deliver, packet, done)
    else this.#send(deliver, packet, done, undefined)
  }

  #decide(deliver: Deliver, packet: AedesDelivery, done: DeliveryDone): void {
    const client = this.#client
    const isOwn = packet.nl === true && packet.clientId === client.id
    if (isOwn || this.#isDuplicate(packet)) {
      // aedes discards these by itself.
      this.#send(deliver, packet, done, undefined)
      return
    }
    const forward = this.#hook.callUserHook(client, packet)
    if (!forward && deliver === this.#deliverQoS && this.#isStoredInSession(packet)) {
      // aedes would remove another message from the session's queue.
      this.#markSeen(packet)
      void this.#removeFromSession(packet)
      setImmediate(done)
      return
    }
    if (!forward || !this.#hook.isLimited || this.#context.notices?.isNoticeTopic(forward.topic)) {
      this.#send(deliver, packet, done, forward)
      return
    }
    const message = new DeliverMessage(this.#connection.sender, forward, packet, deliver, done)
    const { guard } = this.#context
    if (this.#senderQueue === undefined || this.#senderQueue.pending === 0) {
      const answer = guard.ask(message)
      if ((answer as Decision).outcome === 'deliver') {
        this.#send(deliver, packet, done, forward)
        return
      }
      this.#senderQueue ??= guard.senderQueue()
      this.#admit(this.#senderQueue, message, answer)
    } else this.#admit(this.#senderQueue, message, undefined)
  }

  #admit(
    senderQueue: SenderQueue,
    message: DeliverMessage,
    answer: MaybePromise<Decision> | undefined,
  ): void {
    this.#markSeen(message.original)
    if (answer === undefined) senderQueue.admit(message, this.#enact)
    else senderQueue.admit(message, this.#enact, reuseDecisionOnce(answer, this.#context.guard))
    // Retained messages wait at their source: aedes reads the next one after an answer to this one.
    if (message.isEnacted || isRetained(message.original)) return
    setImmediate(message.done)
    message.done = ignore
  }

  readonly #enact = (decision: Decision, message: DeliverMessage): void => {
    message.isEnacted = true
    const context = this.#context
    const { deliver, original, forward, done } = message
    if (this.#client.closed) {
      done()
      return
    }
    if (decision.outcome === 'deliver') {
      this.#send(deliver, original, done, forward, true)
      return
    }
    const isStoredInSession = deliver === this.#deliverQoS && this.#isStoredInSession(original)
    if (decision.reason === 'superseded') {
      if (isStoredInSession) void this.#removeFromSession(original)
      done()
      return
    }
    context.refusals.recordRefusal(message, decision)
    if (decision.outcome === 'disconnect') {
      context.counters.deliveriesRefused++
      // Messages kept by its session are delivered when it reconnects.
      this.#close(decision)
      done()
      return
    }
    if (isStoredInSession) {
      // The session would deliver it on the next connect, out of order.
      context.counters.deliveriesSpared++
      this.#send(deliver, original, done, forward, true)
      return
    }
    context.counters.deliveriesRefused++
    done()
  }

  #isDuplicate({ brokerId, brokerCounter = 0 }: AedesDelivery): boolean {
    return !!brokerId && (this.#internals.duplicates?.[brokerId] ?? 0) >= brokerCounter
  }

  #markSeen({ brokerId, brokerCounter = 0 }: AedesDelivery): void {
    const { duplicates } = this.#internals
    if (brokerId && duplicates !== undefined) duplicates[brokerId] = brokerCounter
  }

  /** Removes a message of QoS 1 or 2 from a session's queue, which is indexed by message id. */
  async #removeFromSession(packet: AedesDelivery): Promise<void> {
    const { persistence } = brokerInternals(this.#context.broker)
    const messageId = this.#internals._nextId ?? 1
    this.#internals._nextId = messageId >= 65_535 ? 1 : messageId + 1
    try {
      await persistence?.outgoingUpdate?.(this.#client, { ...packet, messageId })
      await persistence?.outgoingClearMessageId?.(this.#client, { messageId })
    } catch (err) {
      this.#context.logger.warn(
        { err, client: this.#client.id },
        'removing a message from the session failed, it may be delivered again',
      )
    }
  }

  #isStoredInSession({ qos, retain }: AedesDelivery): boolean {
    return !this.#client.clean && (qos ?? 0) > 0 && retain !== true
  }

  /** Passes a packet to aedes. `forward` is the result of the application's hook; if undefined, the hook is called. */
  #send(
    deliver: Deliver,
    packet: AedesDelivery,
    done: DeliveryDone,
    forward: AedesDelivery | null | undefined,
    isSeen = false,
  ): void {
    const { maxUnsentBytes } = this.#context.settings
    // aedes reads retained messages one by one: only this subscriber waits.
    if (maxUnsentBytes === Number.POSITIVE_INFINITY || isRetained(packet)) {
      this.#pass(deliver, packet, done, forward, isSeen)
      return
    }
    if (!this.#isSlow || !this.#staysSlow()) {
      const pending: Pending = { done, isDone: false }
      this.#pending.push(pending)
      this.#pendingCount++
      this.#pass(deliver, packet, () => this.#finish(pending), forward, isSeen)
      return
    }
    if (this.#client.conn.writableLength <= maxUnsentBytes) {
      this.#pass(deliver, packet, ignore, forward, isSeen)
      setImmediate(done)
      return
    }
    this.#context.counters.frozen++
    if (deliver === this.#deliverQoS && this.#isStoredInSession(packet)) this.#keepInSession(done)
    else setImmediate(done)
  }

  #pass(
    deliver: Deliver,
    packet: AedesDelivery,
    done: DeliveryDone,
    forward: AedesDelivery | null | undefined,
    isSeen: boolean,
  ): void {
    if (isSeen) this.#passAgain(deliver, packet, done, forward)
    else this.#hook.pass(deliver, packet, done, forward)
  }

  #finish(pending: Pending): void {
    if (pending.isDone) return
    pending.isDone = true
    this.#pendingCount--
    if (this.#pendingCount === 0) this.#pending.length = 0
    else if (this.#pending.length > 2 * this.#pendingCount + 1_024)
      this.#pending = this.#pending.filter(({ isDone }) => !isDone)
    pending.done()
  }

  /** Called when the socket's buffer is full. */
  #onFull(): void {
    const context = this.#context
    if (this.#awaitsDrain || context.settings.maxUnsentBytes === Number.POSITIVE_INFINITY) return
    this.#awaitsDrain = true
    this.#client.conn.once('drain', () => this.#onDrain())
    if (!this.#isSlow) this.#cancelStall = context.guard.clock.after(STALL_MS, () => this.#stall())
  }

  #stall(): void {
    this.#cancelStall = undefined
    this.#isSlow = true
    const pending = this.#pending
    this.#pending = []
    for (const each of pending) this.#finish(each)
  }

  #onDrain(): void {
    this.#awaitsDrain = false
    this.#cancelStall?.()
    this.#cancelStall = undefined
    if (this.#isSlow) this.#slowUntilMs = this.#context.guard.clock.now() + WATCH_MS
    if (this.#hasSessionBacklog) void this.#catchUp()
  }

  #staysSlow(): boolean {
    if (this.#awaitsDrain || this.#context.guard.clock.now() < this.#slowUntilMs) return true
    this.#isSlow = false
    return false
  }

  /** Leaves a message in the session's queue. */
  #keepInSession(done: DeliveryDone): void {
    this.#hasSessionBacklog = true
    this.#hasNewSessionMessages = true
    setImmediate(done)
  }

  /** Delivers the messages waiting in the session's queue, in order. */
  async #catchUp(): Promise<void> {
    const { persistence } = brokerInternals(this.#context.broker)
    if (this.#isCatchingUp || typeof persistence?.outgoingStream !== 'function') return
    this.#isCatchingUp = true
    try {
      while (this.#hasNewSessionMessages) {
        this.#hasNewSessionMessages = false
        for await (const packet of persistence.outgoingStream(this.#client)) {
          // A packet with an id was sent already.
          if (packet.messageId !== undefined || (packet.cmd ?? 'publish') !== 'publish') continue
          await this.#resend(packet)
          if (this.#client.closed || (this.#bans.hasBans && this.ban !== undefined)) return
        }
      }
      this.#hasSessionBacklog = false
    } catch (err) {
      this.#context.logger.warn(
        { err, client: this.#client.id },
        'delivering the waiting messages of a session failed',
      )
    } finally {
      this.#isCatchingUp = false
    }
  }

  #resend(packet: AedesDelivery): Promise<void> {
    return new Promise(resolve => this.#passAgain(this.#deliverQoS!, packet, () => resolve(), undefined))
  }

  /** Passes a packet that aedes would treat as a duplicate, because it or a later one was seen before. */
  #passAgain(
    deliver: Deliver,
    packet: AedesDelivery,
    done: DeliveryDone,
    forward: AedesDelivery | null | undefined,
  ): void {
    const { duplicates } = this.#internals
    const { brokerId, brokerCounter = 0 } = packet
    if (!brokerId || duplicates === undefined) {
      this.#hook.pass(deliver, packet, done, forward)
      return
    }
    const seen = duplicates[brokerId] ?? 0
    duplicates[brokerId] = brokerCounter - 1
    try {
      this.#hook.pass(deliver, packet, done, forward)
    } finally {
      duplicates[brokerId] = Math.max(seen, brokerCounter)
    }
  }

  #close(decision: Decision): void {
    const client = this.#client
    const connection = this.#connection
    if (client.closed || connection.isDisconnecting) return
    const context = this.#context
    context.counters.disconnected++
    context.logger.info(
      { client: client.id, rule: decision.rule, reason: decision.reason },
      'subscriber disconnected',
    )
    connection.disconnect(clientRefusalError(decision, 'deliver'))
  }
}

/** Recognises the retained messages that aedes reads, which are never duplicates. */
function isRetained({ retain, brokerId }: AedesDelivery): boolean {
  return retain === true && !brokerId
}
