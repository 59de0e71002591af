import { copyPayload } from '../../src/broker-support/copy-payload.ts'
import { ErrorLog } from '../../src/broker-support/error-log.ts'
import type { Decision } from '../../src/core/decision.ts'
import type { Logger } from '../../src/core/logger.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import { pickOptions } from '../../src/core/option-names.ts'
import type { Gate } from '../../src/gate/gate.ts'
import {
  GUARD_OPTIONS,
  Guard,
  type GuardOptions,
  type SenderQueue,
  type SenderQueueHooks,
} from '../../src/guard/guard.ts'
import { RefusalLog } from '../../src/guard/refusal-log.ts'
import { AckSender } from './ack-sender.ts'
import { AckWindow } from './ack-window.ts'
import {
  clientOptionsOf,
  type DoneCallback,
  type MqttJsPublishPacket,
  type ReceivingClient,
} from './client-types.ts'
import type { ConsumerOptions } from './consumer-options.ts'
import { DeadLetterPublisher } from './dead-letter-publisher.ts'
import { createMessageCounters, DecisionExecutor } from './decision-executor.ts'
import { KeepAlivePinger } from './keep-alive.ts'
import { type ContinueReading, type MessageStage, ReceivedMessage } from './message.ts'
import { MqttMessageSenderCache } from './message-sender-cache.ts'

/** Reason code of a refusal: quota exceeded. */
const QUOTA_EXCEEDED = 0x97

/** Error after which MQTT.js brings the next message without an acknowledgement. */
const NOT_ACCEPTED = new Error('the consumer accepts no more messages')

/** Receiving client with the state of its limiter. */
export class Consumer {
  readonly client: ReceivingClient
  readonly guard: Guard
  readonly logger: Logger
  readonly senders: MqttMessageSenderCache
  readonly keepAlive: KeepAlivePinger
  readonly executor: DecisionExecutor
  readonly #errorLog: ErrorLog
  readonly counters = createMessageCounters()
  readonly #gate: Gate
  readonly #ackSender: AckSender
  /** True on MQTT 5, which has reason codes for refusals. */
  readonly #hasReasonCodes: boolean
  #senderQueue: SenderQueue
  /** True while the sender queue asks to pause: its first message must wait until the limits allow it. */
  #isPaused = false
  #ackWindow: AckWindow
  /** Continues reading after a message that was not accepted. */
  #resumeStopped: (() => void) | undefined
  /** Packet that the application's own hook has refused. The client delivers it nevertheless. */
  #refused: MqttJsPublishPacket | undefined
  /** QoS 2 messages decided or queued before their PUBREC, until their PUBREL. */
  readonly #decided = new WeakMap<MqttJsPublishPacket, ReceivedMessage>()
  /** Decided messages that are enacted at their PUBREL, in order. The client bounds them by its Receive Maximum. */
  readonly #unreleased = new Set<ReceivedMessage>()
  /** First connection of the current session. Messages of earlier connections get no PUBREL. */
  #sessionStartId = 0
  /** QoS 2 messages between their arrival here and their PUBCOMP. A new connection may deliver them again. */
  readonly #inProgress = new WeakMap<MqttJsPublishPacket, ReceivedMessage>()
  /**
   * `draining` accepts no new message, but continues those of QoS 2, because the client has stored them. `ended` neither
   * handles nor acknowledges anything. `closing` delivers messages decided early.
   */
  state: 'open' | 'draining' | 'ended' | 'closing' = 'open'

  constructor(client: ReceivingClient, gate: Gate, options: ConsumerOptions) {
    this.client = client
    this.#gate = gate
    this.#hasReasonCodes = clientOptionsOf(client).protocolVersion === 5
    this.logger = options.logger ?? gate.logger
    this.guard = new Guard(gate, {
      ...pickOptions(options as GuardOptions, GUARD_OPTIONS),
      holds: 'all',
      logger: this.logger,
    })
    this.keepAlive = new KeepAlivePinger(client, this.guard.clock)
    this.#ackSender = new AckSender(client, this.keepAlive)
    this.#errorLog = new ErrorLog(this.guard.clock, this.logger)
    const { deadLetter, deadLetterTimeoutMs } = options
    this.executor = new DecisionExecutor(options.handler, gate, {
      counters: this.counters,
      errorLog: this.#errorLog,
      refusals: new RefusalLog(this.logger, this.guard.clock, message => gate.senderOf(message)),
      deadLetter: deadLetter && new DeadLetterPublisher(deadLetter, this.guard.clock, deadLetterTimeoutMs),
      release: this.#release,
    })
    this.senders = new MqttMessageSenderCache(options.identify, err =>
      this.#errorLog.logError('identify threw, the sender is unknown', err),
    )
    this.#senderQueue = this.#createSenderQueue()
    this.#ackWindow = this.#createAckWindow()
  }

  /** Decides a message of QoS 2 on MQTT 5 while a reason code can still be sent. */
  decideQoS2(topic: string, packet: MqttJsPublishPacket, continueReading: ContinueReading): void {
    if (packet.dup === true) {
      // A stored message was decided when it first arrived. Only its PUBREC was lost.
      this.client.incomingStore.get(packet, (error?: Error | null, stored?: MqttJsPublishPacket) => {
        if (error || stored === undefined) return this.#decideEarly(topic, packet, continueReading)
        const known = this.#decided.get(stored)
        if (known !== undefined) this.#decided.set(packet, known)
        continueReading()
      })
      return
    }
    this.#decideEarly(topic, packet, continueReading)
  }

  /** Marks a packet that the application's own hook has refused. */
  markRefused(packet: MqttJsPublishPacket): void {
    this.#refused = packet
  }

  /** Receives a message from the client, which waits for `done` before it reads the next. */
  receive(packet: MqttJsPublishPacket, done: DoneCallback): void {
    this.keepAlive.onClientWaiting()
    if (packet.qos === 2 || packet === this.#refused || !this.#canDeliverAtOnce) {
      this.#receiveInOrder(packet, done as ContinueReading)
      return
    }
    const message = this.#createMessage(packet.topic, packet, done as ContinueReading, 'due')
    const answer = this.guard.ask(message)
    // The most frequent case first: the message passes and none is before it.
    if ((answer as Decision).outcome === 'deliver') this.executor.deliver(answer as Decision, message)
    else {
      message.knownDecision = answer
      this.#enqueue(message)
    }
  }

  /** Handles a closed connection. Discards unacknowledged messages if the broker will deliver them again. */
  disconnected(): void {
    this.#ackSender.connectionId++
    const persists = clientOptionsOf(this.client).clean === false
    // A client that was ended discards its stored messages; in state `ended` no PUBREL is handled.
    if (!persists || this.client.disconnecting === true || this.state === 'ended') this.endSession()
    // Without a PUBREC the broker sends it again.
    for (const message of this.#unreleased)
      if (message.continueReading !== undefined) this.#unreleased.delete(message)
    const senderQueue = this.#senderQueue
    this.#senderQueue = this.#createSenderQueue()
    this.#ackWindow = this.#createAckWindow()
    senderQueue.detach(held => {
      const message = held as ReceivedMessage
      if (message.continueReading === undefined || message.qos === 0 || !persists) return true
      this.#inProgress.delete(message.packet)
      return false
    })
    this.keepAlive.onClientContinued()
  }

  /** Enacts messages with a PUBREC in order, because their PUBRELs will not arrive or not be handled. */
  endSession(): void {
    this.#sessionStartId = this.#ackSender.connectionId
    const messages = [...this.#unreleased]
    this.#unreleased.clear()
    for (const message of messages) {
      message.stage = 'done'
      this.executor.enact(message.decision, message)
    }
  }

  /** True if no message is held or in progress. */
  get isIdle(): boolean {
    return (
      this.guard.stats().held === 0 &&
      this.#unreleased.size === 0 &&
      this.executor.isIdle &&
      this.#ackWindow.isEmpty
    )
  }

  /** True if no message is in progress, so that a new one need not wait. */
  get #canDeliverAtOnce(): boolean {
    return (
      this.state === 'open' &&
      this.#senderQueue.pending === 0 &&
      this.executor.isIdle &&
      this.#ackWindow.isEmpty
    )
  }

  #receiveInOrder(packet: MqttJsPublishPacket, continueReading: ContinueReading): void {
    if (packet === this.#refused) {
      this.#refused = undefined
      this.keepAlive.onClientContinued()
      continueReading()
      return
    }
    if (!this.#accepts(packet)) {
      this.#stopReadingAt(packet, continueReading)
      return
    }
    if (packet.qos === 2 && this.#continueKnown(packet, continueReading)) return
    const message = this.#createMessage(packet.topic, packet, continueReading, 'due')
    if (packet.qos === 2) this.#inProgress.set(packet, message)
    this.#enqueue(message)
  }

  /** Continues a message that is known already. Returns false if it is not. */
  #continueKnown(packet: MqttJsPublishPacket, continueReading: ContinueReading): boolean {
    const decided = this.#decided.get(packet)
    if (decided?.stage === 'queued' || decided?.stage === 'done') {
      this.#decided.delete(packet)
      if (decided.stage === 'queued') decided.stage = 'due'
      this.keepAlive.onClientContinued()
      continueReading()
      return true
    }
    const inProgress = this.#inProgress.get(packet)
    if (inProgress !== undefined) {
      inProgress.resume(this.#ackSender.connectionId, continueReading)
      return true
    }
    if (decided === undefined) return false
    this.#decided.delete(packet)
    this.#unreleased.delete(decided)
    decided.stage = 'due'
    decided.resume(this.#ackSender.connectionId, continueReading)
    this.#inProgress.set(packet, decided)
    this.executor.enact(decided.decision, decided)
    return true
  }

  #accepts({ qos }: MqttJsPublishPacket): boolean {
    return this.state === 'open' || (this.state === 'draining' && qos === 2)
  }

  /** Stops reading at a message that is not accepted, until the client ends or the limiter is closed. */
  #stopReadingAt({ qos = 0 }: MqttJsPublishPacket, continueReading: ContinueReading): void {
    const connectionId = this.#ackSender.connectionId
    this.#resumeStopped = () => {
      // Not acknowledged, it is delivered again on another connection if the broker keeps the session.
      if (connectionId === this.#ackSender.connectionId) continueReading(qos > 0 ? NOT_ACCEPTED : undefined)
    }
  }

  /** Continues reading when the limiter is detached from its client. */
  resumeReading(): void {
    const continueReading = this.#resumeStopped
    this.#resumeStopped = undefined
    continueReading?.()
  }

  #decideEarly(topic: string, packet: MqttJsPublishPacket, continueReading: ContinueReading): void {
    this.keepAlive.onClientWaiting()
    if (!this.#accepts(packet)) {
      this.#stopReadingAt(packet, continueReading)
      return
    }
    this.#forgetUnreleased(packet)
    this.#senderQueue.admit(this.#createMessage(topic, packet, continueReading, 'early'), this.#enact)
  }

  /** Forgets a message of an earlier connection that the broker sends again: it lost the PUBREC, so it sends no PUBREL for it. */
  #forgetUnreleased({ messageId }: MqttJsPublishPacket): void {
    for (const message of this.#unreleased) {
      if (!this.#isOfEarlierConnection(message)) return
      if (message.packet.messageId === messageId) this.#unreleased.delete(message)
    }
  }

  #createMessage(
    topic: string,
    packet: MqttJsPublishPacket,
    continueReading: ContinueReading,
    stage: MessageStage,
  ): ReceivedMessage {
    this.counters.received++
    const sender = this.senders.senderOf(topic, packet)
    return new ReceivedMessage(
      this.#gate,
      sender,
      topic,
      packet,
      this.#ackSender.connectionId,
      continueReading,
      stage,
    )
  }

  /** Queues a message for its turn. While it waits for a store, the client may bring the next one. */
  #enqueue(message: ReceivedMessage): void {
    const ackWindow = this.#ackWindow
    ackWindow.add(message)
    this.#senderQueue.admit(message, this.#enact, message.knownDecision === undefined ? undefined : this.#ask)
    ackWindow.continueIfAllowed()
  }

  readonly #ask = (message: ReceivedMessage): MaybePromise<Decision> => {
    const { knownDecision } = message
    message.knownDecision = undefined
    return knownDecision ?? this.guard.ask(message)
  }

  readonly #enact = (decision: Decision, message: ReceivedMessage): void => {
    const { stage } = message
    // A client that gets its own delivery back, or has lost the connection, would not deliver messages decided early.
    const isEarly = stage === 'early' && this.state !== 'closing' && !this.#isOfEarlierConnection(message)
    const canRefuse = isEarly || (stage === 'due' && this.#hasReasonCodes && message.qos === 1)
    if (decision.outcome === 'reject' && canRefuse) {
      this.executor.recordRejection(decision, message)
      this.#release(message, QUOTA_EXCEEDED)
    } else if (isEarly) {
      this.#decided.set(message.packet, message)
      this.#awaitPubrel(decision, message)
      this.#release(message)
    } else if (stage === 'queued' && this.#mustFollow(message)) this.#awaitPubrel(decision, message)
    else {
      if (stage === 'queued') message.stage = 'done'
      this.executor.enact(decision, message)
    }
  }

  #awaitPubrel(decision: Decision, message: ReceivedMessage): void {
    message.decision = decision
    message.stage = 'decided'
    this.#unreleased.add(message)
  }

  /**
   * Returns true if a message that leaves its queue must wait for its PUBREL because an earlier one does. PUBRELs arrive
   * in the order of the messages [MQTT-4.6.0-4].
   */
  #mustFollow({ connectionId }: ReceivedMessage): boolean {
    return this.#unreleased.size > 0 && connectionId >= this.#sessionStartId && this.state !== 'closing'
  }

  #isOfEarlierConnection({ connectionId }: ReceivedMessage): boolean {
    return connectionId !== this.#ackSender.connectionId
  }

  /** Acknowledges a message that a rule has queued. It is enacted when its turn comes. */
  #acknowledgeQueued(message: ReceivedMessage): void {
    if (message.continueReading === undefined) return
    copyPayload(message.packet)
    if (message.stage === 'early') {
      message.stage = 'queued'
      this.#decided.set(message.packet, message)
    }
    // While the handler is behind, no more messages are read.
    this.executor.whenIdle(() => this.#release(message))
  }

  readonly #release = (message: ReceivedMessage, reasonCode = 0): void => {
    const { qos, stage } = message
    if (qos === 2 && stage === 'due') this.#inProgress.delete(message.packet)
    const isOld = this.#isOfEarlierConnection(message)
    // A PUBACK on another connection than the PUBLISH may acknowledge another message. For QoS 2 the client must
    // delete the stored message, or it would deliver it twice.
    if (isOld && qos > 0 && (qos !== 2 || stage !== 'due')) return
    try {
      if (message.isInAckWindow && !isOld) this.#ackWindow.finish(message, reasonCode)
      else this.#ackSender.finish(message, reasonCode)
    } catch (err) {
      // A client that has ended has no store to read.
      this.#errorLog.logError('the client could not acknowledge the message', err)
    }
  }

  #createSenderQueue(): SenderQueue {
    this.#isPaused = false
    const hooks: SenderQueueHooks = {
      onQueued: message => this.#acknowledgeQueued(message as ReceivedMessage),
      onPause: () => {
        this.#isPaused = true
      },
      onResume: () => {
        this.#isPaused = false
      },
    }
    return this.guard.senderQueue(hooks, { mixesSenders: true })
  }

  #createAckWindow(): AckWindow {
    return new AckWindow(this.#ackSender, () => this.#senderQueue.held > 0 && !this.#isPaused)
  }
}
