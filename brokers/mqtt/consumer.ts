import type { Decision } from '../../src/decision.ts'
import { Guard, type Lane } from '../../src/guard.ts'
import { type Gate, KnownSenders } from '../../src/index.ts'
import type { Logger } from '../../src/logger.ts'
import type { Sender } from '../../src/message.ts'
import { RefusalLog } from '../../src/outcomes/refusal-log.ts'
import { type Done, optionsOf, type PublishPacket, type ReceivingClient } from './client.ts'
import { DeadLetter } from './dead-letter.ts'
import { KeepAlive } from './keep-alive.ts'
import { type GoOn, ReceivedMessage } from './message.ts'
import type { ConsumerOptions } from './options.ts'
import { emptyTally, Outlet } from './outlet.ts'

/** Quota exceeded: the reason code of a refusal. */
const QUOTA_EXCEEDED = 0x97

const NOBODY: Sender = {}

/** One client that receives, with all that its limiter knows of it. */
export class Consumer {
  readonly client: ReceivingClient
  readonly guard: Guard
  readonly logger: Logger
  readonly senders = new KnownSenders()
  readonly keepAlive: KeepAlive
  readonly outlet: Outlet
  readonly tally = emptyTally()
  readonly #gate: Gate
  /** On MQTT 5, where a refusal can be told. */
  readonly #decidesEarly: boolean
  readonly #identify: ConsumerOptions['identify']
  #lane: Lane
  /** Counts connections: what came on one that is gone is not acknowledged on another. */
  #connection = 0
  /** What was decided before its acknowledgement, until the client hands it on. */
  readonly #decided = new WeakMap<PublishPacket, ReceivedMessage | 'refused' | 'parked'>()
  /** QoS 2 messages between their arrival here and their PUBCOMP: a new connection may bring them again. */
  readonly #inHand = new WeakMap<PublishPacket, ReceivedMessage>()
  /**
   * `draining` takes in no new message; those of QoS 2 go on, as the client has taken them over and would forget them. `ended`
   * takes nothing: what comes is neither handled nor acknowledged. `closing` hands on what was decided early.
   */
  state: 'open' | 'draining' | 'ended' | 'closing' = 'open'

  constructor(client: ReceivingClient, gate: Gate, options: ConsumerOptions) {
    this.client = client
    this.#gate = gate
    this.#decidesEarly = optionsOf(client).protocolVersion === 5
    this.logger = options.logger ?? gate.logger
    this.guard = new Guard(gate, { ...options, holds: 'all', logger: this.logger })
    this.keepAlive = new KeepAlive(client, this.guard.clock)
    this.#identify = options.identify
    const { deadLetter, deadLetterTimeoutMs } = options
    this.outlet = new Outlet(options.handler, gate, {
      tally: this.tally,
      logger: this.logger,
      refusals: new RefusalLog(this.logger, this.guard.clock),
      deadLetter: deadLetter && new DeadLetter(deadLetter, this.guard.clock, deadLetterTimeoutMs),
      release: message => this.#release(message),
    })
    this.#lane = this.#openLane()
  }

  /** Of MQTT 5, QoS 1 and 2: decides while a reason code can still be sent. */
  acknowledge(topic: string, packet: PublishPacket, goOn: GoOn): void {
    if (packet.qos === 2 && packet.dup === true) {
      // What is stored already was decided when it first came; only its PUBREC was lost.
      this.client.incomingStore.get(packet, (error?: Error | null, stored?: PublishPacket) => {
        if (error || stored === undefined) return this.#decideEarly(topic, packet, goOn)
        const known = this.#decided.get(stored)
        if (known !== undefined) this.#decided.set(packet, known)
        goOn()
      })
      return
    }
    this.#decideEarly(topic, packet, goOn)
  }

  /** The application's own hook has refused a packet: it goes nowhere, though the client hands it on. */
  refuse(packet: PublishPacket): void {
    this.#decided.set(packet, 'refused')
  }

  /** A message the client delivers; it waits for `done` before it reads the next. */
  take(packet: PublishPacket, done: Done): void {
    this.keepAlive.hold()
    if (!this.#takesIn(packet)) return
    // Without a code it is called as the client expects.
    const goOn = done as GoOn
    if (packet.qos === 2 || this.#decidesEarly) {
      if (packet.qos !== 0 && this.#continue(packet, goOn)) return
    }
    const message = this.#arrive(packet.topic, packet, goOn, false)
    if (packet.qos === 2) this.#inHand.set(packet, message)
    this.#lane.admit(message, this.#enact)
  }

  /** Goes on with what is known already; false of what is not. */
  #continue(packet: PublishPacket, goOn: GoOn): boolean {
    const decided = this.#decided.get(packet)
    if (decided === 'refused' || decided === 'parked') {
      this.#decided.delete(packet)
      this.keepAlive.rest()
      goOn()
      return true
    }
    const inHand = this.#inHand.get(packet)
    if (inHand !== undefined) {
      inHand.resume(this.#connection, goOn)
      return true
    }
    if (decided === undefined) return false
    this.#decided.delete(packet)
    decided.early = false
    decided.resume(this.#connection, goOn)
    if (packet.qos === 2) this.#inHand.set(packet, decided)
    this.outlet.enact(decided.decision, decided)
    return true
  }

  /** The connection is gone, and with it what was not acknowledged, where the broker will bring it again. */
  disconnected(): void {
    this.#connection++
    const persists = optionsOf(this.client).clean === false
    const lane = this.#lane
    this.#lane = this.#openLane()
    lane.leave(held => {
      const message = held as ReceivedMessage
      if (message.goOn === undefined || message.qos === 0 || !persists) return true
      this.#inHand.delete(message.packet)
      return false
    })
    this.keepAlive.rest()
  }

  /** Nothing is held, and nothing under way. */
  get isIdle(): boolean {
    return this.guard.stats().held === 0 && this.outlet.isIdle
  }

  #takesIn({ qos }: PublishPacket): boolean {
    return this.state === 'open' || (this.state === 'draining' && qos === 2)
  }

  #decideEarly(topic: string, packet: PublishPacket, goOn: GoOn): void {
    this.keepAlive.hold()
    if (!this.#takesIn(packet)) return
    this.#lane.admit(this.#arrive(topic, packet, goOn, true), this.#enact)
  }

  #arrive(topic: string, packet: PublishPacket, goOn: GoOn, early: boolean): ReceivedMessage {
    this.tally.received++
    return new ReceivedMessage(
      this.#gate,
      this.#senderOf(topic, packet),
      topic,
      packet,
      this.#connection,
      goOn,
      early,
    )
  }

  readonly #enact = (decision: Decision, message: ReceivedMessage): void => {
    // A client that gets its own delivery back would not hand it on.
    if (!message.early || this.state === 'closing') {
      this.outlet.enact(decision, message)
      return
    }
    if (decision.outcome === 'reject') {
      this.#decided.set(message.packet, 'refused')
      this.outlet.noteRejected(decision, message)
      this.#release(message, QUOTA_EXCEEDED)
      return
    }
    message.decision = decision
    this.#decided.set(message.packet, message)
    this.#release(message)
  }

  /** The message is its rule's now: it is acknowledged, and enacted when its turn comes. */
  #parked(message: ReceivedMessage): void {
    if (message.goOn === undefined) return
    message.own()
    if (message.early) {
      message.early = false
      this.#decided.set(message.packet, 'parked')
    }
    // While the handler is behind, nothing more is taken in.
    this.outlet.whenIdle(() => this.#release(message))
  }

  #release(message: ReceivedMessage, code?: number): void {
    const { packet, qos, connection } = message
    if (qos === 2 && !message.early) this.#inHand.delete(packet)
    if (connection === this.#connection) this.keepAlive.rest()
    // A PUBACK on another connection than its PUBLISH came on may answer for another message. Of QoS 2 the client
    // has to forget what it has stored, or would deliver it twice.
    if (connection !== this.#connection && qos > 0 && (qos !== 2 || message.early)) return
    try {
      message.release(code)
    } catch (err) {
      // A client that has ended has no store any more to look into.
      this.outlet.report(err, 'the client took no acknowledgement')
    }
  }

  #openLane(): Lane {
    return this.guard.lane({ onPark: message => this.#parked(message as ReceivedMessage) })
  }

  #senderOf(topic: string, packet: PublishPacket): Sender {
    if (this.#identify === undefined) return this.senders.findBy(topic, NOBODY)
    try {
      return this.senders.find(this.#identify(topic, packet) ?? NOBODY)
    } catch (err) {
      this.outlet.report(err, 'identify threw, the sender stays unknown')
      return this.senders.findBy(topic, NOBODY)
    }
  }
}
