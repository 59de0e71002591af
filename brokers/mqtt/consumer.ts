import type { Decision } from '../../src/core/decision.ts'
import type { Logger } from '../../src/core/logger.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import { pickOptions } from '../../src/core/option-names.ts'
import {
  GUARD_OPTIONS,
  Guard,
  type GuardOptions,
  type SenderQueue,
  type SenderQueueHooks,
} from '../../src/guard/guard.ts'
import { RefusalLog } from '../../src/guard/refusal-log.ts'
import type { Gate } from '../../src/index.ts'
import { Acks } from './acks.ts'
import { type Done, optionsOf, type PublishPacket, type ReceivingClient } from './client.ts'
import { DeadLetter } from './dead-letter.ts'
import { AckWindow } from './decide-ahead.ts'
import { emptyCounters, HandlerDispatch } from './handler-dispatch.ts'
import { KeepAlive } from './keep-alive.ts'
import { type Continue, ReceivedMessage, type Stage } from './message.ts'
import type { ConsumerOptions } from './options.ts'
import { Senders } from './sender-cache.ts'

/** Quota exceeded: the reason code of a refusal. */
const QUOTA_EXCEEDED = 0x97

/** Given it, MQTT.js acknowledges nothing and brings the next message. */
const NOT_TAKEN = new Error('the consumer takes nothing more')

/** One client that receives, with all that its limiter knows of it. */
export class Consumer {
  readonly client: ReceivingClient
  readonly guard: Guard
  readonly logger: Logger
  readonly senders: Senders
  readonly keepAlive: KeepAlive
  readonly dispatch: HandlerDispatch
  readonly counters = emptyCounters()
  readonly #gate: Gate
  readonly #acks: Acks
  /** On MQTT 5, where a refusal can be told. */
  readonly #tellsRefusals: boolean
  #senderQueue: SenderQueue
  /** The lane asks for a stop: its first message has to wait until it fits. */
  #isHeld = false
  #ackWindow: AckWindow
  /** Has the client go on from what was not taken in any more. */
  #stopped: (() => void) | undefined
  /** The application's own hook has refused it: the client hands it on all the same. */
  #refused: PublishPacket | undefined
  /** Messages of QoS 2 that were decided or queued before their PUBREC, until their PUBREL. */
  readonly #decided = new WeakMap<PublishPacket, ReceivedMessage>()
  /** Of these, messages that are enacted at their PUBREL, in order. The client bounds them by its receive maximum. */
  readonly #unreleased = new Set<ReceivedMessage>()
  /** The first connection of the present session: no PUBREL comes for messages of earlier connections. */
  #sessionSince = 0
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
    this.#tellsRefusals = optionsOf(client).protocolVersion === 5
    this.logger = options.logger ?? gate.logger
    this.guard = new Guard(gate, {
      ...pickOptions(options as GuardOptions, GUARD_OPTIONS),
      holds: 'all',
      logger: this.logger,
    })
    this.keepAlive = new KeepAlive(client, this.guard.clock)
    this.#acks = new Acks(client, this.keepAlive)
    const { deadLetter, deadLetterTimeoutMs } = options
    this.dispatch = new HandlerDispatch(options.handler, gate, {
      counters: this.counters,
      logger: this.logger,
      refusals: new RefusalLog(this.logger, this.guard.clock, message => gate.senderOf(message)),
      deadLetter: deadLetter && new DeadLetter(deadLetter, this.guard.clock, deadLetterTimeoutMs),
      release: this.#release,
    })
    this.senders = new Senders(options.identify, err =>
      this.dispatch.report(err, 'identify threw, the sender stays unknown'),
    )
    this.#senderQueue = this.#openLane()
    this.#ackWindow = this.#lookAhead()
  }

  /** Of MQTT 5, QoS 2: decides while a reason code can still be sent. */
  acknowledge(topic: string, packet: PublishPacket, continueReading: Continue): void {
    if (packet.dup === true) {
      // What is stored already was decided when it first came; only its PUBREC was lost.
      this.client.incomingStore.get(packet, (error?: Error | null, stored?: PublishPacket) => {
        if (error || stored === undefined) return this.#decideEarly(topic, packet, continueReading)
        const known = this.#decided.get(stored)
        if (known !== undefined) this.#decided.set(packet, known)
        continueReading()
      })
      return
    }
    this.#decideEarly(topic, packet, continueReading)
  }

  /** The application's own hook has refused a packet. */
  refuse(packet: PublishPacket): void {
    this.#refused = packet
  }

  /** A message the client delivers; it waits for `done` before it reads the next. */
  take(packet: PublishPacket, done: Done): void {
    this.keepAlive.hold()
    if (packet.qos === 2 || packet === this.#refused || !this.#isCalm) {
      this.#takeInTurn(packet, done as Continue)
      return
    }
    const message = this.#arrive(packet.topic, packet, done as Continue, 'due')
    const answer = this.guard.ask(message)
    // The likely case first: it passes, nobody is before it, and nothing is noted anywhere.
    if ((answer as Decision).outcome === 'deliver') this.dispatch.deliver(answer as Decision, message)
    else {
      message.answer = answer
      this.#admit(message)
    }
  }

  /** The connection is gone, and with it what was not acknowledged, where the broker will bring it again. */
  disconnected(): void {
    this.#acks.connection++
    const persists = optionsOf(this.client).clean === false
    // A client that was ended forgets what it has stored; in state `ended` no PUBREL is handled.
    if (!persists || this.client.disconnecting === true || this.state === 'ended') this.endSession()
    // Without a PUBREC the broker sends it again.
    for (const message of this.#unreleased)
      if (message.continueReading !== undefined) this.#unreleased.delete(message)
    const senderQueue = this.#senderQueue
    this.#senderQueue = this.#openLane()
    this.#ackWindow = this.#lookAhead()
    senderQueue.detach(held => {
      const message = held as ReceivedMessage
      if (message.continueReading === undefined || message.qos === 0 || !persists) return true
      this.#inHand.delete(message.packet)
      return false
    })
    this.keepAlive.rest()
  }

  /** Enacts, in order, the messages that a PUBREC was sent for, as their PUBRELs will not come or not be handled. */
  endSession(): void {
    this.#sessionSince = this.#acks.connection
    const messages = [...this.#unreleased]
    this.#unreleased.clear()
    for (const message of messages) {
      message.stage = 'done'
      this.dispatch.enact(message.decision, message)
    }
  }

  /** Nothing is held, and nothing under way. */
  get isIdle(): boolean {
    return (
      this.guard.stats().held === 0 &&
      this.#unreleased.size === 0 &&
      this.dispatch.isIdle &&
      this.#ackWindow.isEmpty
    )
  }

  /** Nobody is under way: what arrives has its turn. */
  get #isCalm(): boolean {
    return (
      this.state === 'open' &&
      this.#senderQueue.pending === 0 &&
      this.dispatch.isIdle &&
      this.#ackWindow.isEmpty
    )
  }

  #takeInTurn(packet: PublishPacket, continueReading: Continue): void {
    if (packet === this.#refused) {
      this.#refused = undefined
      this.keepAlive.rest()
      continueReading()
      return
    }
    if (!this.#takesIn(packet)) {
      this.#stopAt(packet, continueReading)
      return
    }
    if (packet.qos === 2 && this.#continue(packet, continueReading)) return
    const message = this.#arrive(packet.topic, packet, continueReading, 'due')
    if (packet.qos === 2) this.#inHand.set(packet, message)
    this.#admit(message)
  }

  /** Goes on with what is known already; false of what is not. */
  #continue(packet: PublishPacket, continueReading: Continue): boolean {
    const decided = this.#decided.get(packet)
    if (decided?.stage === 'parked' || decided?.stage === 'done') {
      this.#decided.delete(packet)
      if (decided.stage === 'parked') decided.stage = 'due'
      this.keepAlive.rest()
      continueReading()
      return true
    }
    const inHand = this.#inHand.get(packet)
    if (inHand !== undefined) {
      inHand.resume(this.#acks.connection, continueReading)
      return true
    }
    if (decided === undefined) return false
    this.#decided.delete(packet)
    this.#unreleased.delete(decided)
    decided.stage = 'due'
    decided.resume(this.#acks.connection, continueReading)
    this.#inHand.set(packet, decided)
    this.dispatch.enact(decided.decision, decided)
    return true
  }

  #takesIn({ qos }: PublishPacket): boolean {
    return this.state === 'open' || (this.state === 'draining' && qos === 2)
  }

  /** The client reads nothing after a message that is not taken in, until it ends or the limiter is closed. */
  #stopAt({ qos = 0 }: PublishPacket, continueReading: Continue): void {
    const connection = this.#acks.connection
    this.#stopped = () => {
      // Not acknowledged, it comes again on another connection, if the broker keeps the session.
      if (connection === this.#acks.connection) continueReading(qos > 0 ? NOT_TAKEN : undefined)
    }
  }

  /** The limiter is taken off its client, which reads on. */
  letGo(): void {
    const continueReading = this.#stopped
    this.#stopped = undefined
    continueReading?.()
  }

  #decideEarly(topic: string, packet: PublishPacket, continueReading: Continue): void {
    this.keepAlive.hold()
    if (!this.#takesIn(packet)) {
      this.#stopAt(packet, continueReading)
      return
    }
    this.#senderQueue.admit(this.#arrive(topic, packet, continueReading, 'early'), this.#enact)
  }

  #arrive(topic: string, packet: PublishPacket, continueReading: Continue, stage: Stage): ReceivedMessage {
    this.counters.received++
    const sender = this.senders.of(topic, packet)
    return new ReceivedMessage(
      this.#gate,
      sender,
      topic,
      packet,
      this.#acks.connection,
      continueReading,
      stage,
    )
  }

  /** Has a message take its turn. Where it is a store that it waits for, the client brings the next meanwhile. */
  #admit(message: ReceivedMessage): void {
    const ackWindow = this.#ackWindow
    ackWindow.enter(message)
    this.#senderQueue.admit(message, this.#enact, message.answer === undefined ? undefined : this.#ask)
    ackWindow.go()
  }

  readonly #ask = (message: ReceivedMessage): MaybePromise<Decision> => {
    const { answer } = message
    message.answer = undefined
    return answer ?? this.guard.ask(message)
  }

  readonly #enact = (decision: Decision, message: ReceivedMessage): void => {
    const { stage } = message
    // A client that gets its own delivery back, or has lost the connection, would not hand on what was decided early.
    const isEarly = stage === 'early' && this.state !== 'closing' && !this.#isGone(message)
    const tellsRefusal = isEarly || (stage === 'due' && this.#tellsRefusals && message.qos === 1)
    if (decision.outcome === 'reject' && tellsRefusal) {
      this.dispatch.noteRejected(decision, message)
      this.#release(message, QUOTA_EXCEEDED)
    } else if (isEarly) {
      this.#decided.set(message.packet, message)
      this.#awaitPubrel(decision, message)
      this.#release(message)
    } else if (stage === 'parked' && this.#mustFollow(message)) this.#awaitPubrel(decision, message)
    else {
      if (stage === 'parked') message.stage = 'done'
      this.dispatch.enact(decision, message)
    }
  }

  #awaitPubrel(decision: Decision, message: ReceivedMessage): void {
    message.decision = decision
    message.stage = 'decided'
    this.#unreleased.add(message)
  }

  /**
   * Whether a message that leaves its queue waits for its PUBREL, because an earlier one does. PUBRELs come in the order of the
   * messages [MQTT-4.6.0-4].
   */
  #mustFollow({ connection }: ReceivedMessage): boolean {
    return this.#unreleased.size > 0 && connection >= this.#sessionSince && this.state !== 'closing'
  }

  #isGone({ connection }: ReceivedMessage): boolean {
    return connection !== this.#acks.connection
  }

  /** The message is its rule's now: it is acknowledged, and enacted when its turn comes. */
  #queued(message: ReceivedMessage): void {
    if (message.continueReading === undefined) return
    message.own()
    if (message.stage === 'early') {
      message.stage = 'parked'
      this.#decided.set(message.packet, message)
    }
    // While the handler is behind, nothing more is taken in.
    this.dispatch.whenIdle(() => this.#release(message))
  }

  readonly #release = (message: ReceivedMessage, reasonCode = 0): void => {
    const { qos, stage, ackWindow } = message
    if (qos === 2 && stage === 'due') this.#inHand.delete(message.packet)
    const isGone = this.#isGone(message)
    // A PUBACK on another connection than its PUBLISH came on may answer for another message. Of QoS 2 the client
    // has to forget what it has stored, or would deliver it twice.
    if (isGone && qos > 0 && (qos !== 2 || stage !== 'due')) return
    try {
      if (ackWindow === undefined || isGone) this.#acks.finish(message, reasonCode)
      else ackWindow.settle(message, reasonCode)
    } catch (err) {
      // A client that has ended has no store any more to look into.
      this.dispatch.report(err, 'the client took no acknowledgement')
    }
  }

  #openLane(): SenderQueue {
    this.#isHeld = false
    const hooks: SenderQueueHooks = {
      onQueued: message => this.#queued(message as ReceivedMessage),
      onPause: () => {
        this.#isHeld = true
      },
      onResume: () => {
        this.#isHeld = false
      },
    }
    return this.guard.senderQueue(hooks, { mixesSenders: true })
  }

  #lookAhead(): AckWindow {
    return new AckWindow(this.#acks, () => this.#senderQueue.held > 0 && !this.#isHeld)
  }
}
