import type { Client, ConnectPacket } from 'aedes'
import type { Decision } from '../../src/core/decision.ts'
import type { Logger } from '../../src/core/logger.ts'
import type { Message, Sender } from '../../src/core/message.ts'
import type { Ask, Enact, Guard, SenderQueue, SenderQueueHooks } from '../../src/guard/guard.ts'
import type { RefusalLog } from '../../src/guard/refusal-log.ts'
import { aedesClientInternals } from './aedes-internals.ts'
import type { ClientQueues, QueueConnection } from './client-queues.ts'
import { createConnectionSender } from './connection-sender.ts'
import { IncomingPublish, type PublishSource } from './message.ts'
import type { LimitBrokerSettings } from './options.ts'
import { OrderedPubacks } from './ordered-pubacks.ts'
import { isParserEmitting, RawPublishFilter } from './raw-publish-filter.ts'
import { NOTICE_EVERY_MS, type RefusalNotices } from './refusal-notices.ts'
import { ReadThrottle, type SharedReadState } from './socket-read-throttle.ts'

/** Minimum pause after refusals, and the default if a rule reports no `resetMs`. */
const MIN_PAUSE_MS = 5
const REFUSAL_SCORE_WINDOW_MS = 1_000
const PAYLOAD_BYTES_PER_POINT = 8_192

/** Maximum wait for acknowledgements before a disconnect: aedes acknowledges QoS 2 after the delivery. */
const ACKNOWLEDGE_WITHIN_MS = 5_000

/** Maximum wait for the will of an earlier connection, because the application's own hook sees it first. */
const WILL_WITHIN_MS = 1_000

/** Reason to stop reading: a throttled message, a full rule queue, or publishes that wait until the connection is open. */
type ReadStop = 'throttled' | 'queueFull' | 'notOpen'

/** State shared by all connections of a limiter. */
export interface ConnectionContext {
  readonly guard: Guard
  readonly settings: LimitBrokerSettings
  readonly logger: Logger
  readonly queues: ClientQueues
  readonly sharedReads: SharedReadState
  readonly refusals: RefusalLog
  readonly notices: RefusalNotices | undefined
  readonly counters: { dropped: number; notices: number }
  mayFilterRaw(): boolean
  beforeReading(): void
  /** Returns true if the broker holds this client under its client id. */
  isCurrent(client: Client): boolean
  /** Called once when a connection has ended. */
  onConnectionClosed(client: Client, connection: Connection): void
}

/** A connection of aedes: its sender, its held messages and its read throttle. */
export class Connection implements PublishSource, QueueConnection {
  readonly sender: Sender
  /** Queue of connects and subscribes. */
  readonly requests: SenderQueue
  /** Queue of publishes: `requests` at first, and that of the client id once the broker has accepted the connection. */
  senderQueue: SenderQueue
  readonly readThrottle: ReadThrottle
  /** Reason why its packets are neither processed nor acknowledged any more. */
  disconnectReason: 'policy' | 'shutdown' | undefined
  /** Publishes that the application's own hook has not answered yet. */
  pendingHookCalls = 0
  isClosed = false
  /** Created at the first refusal. */
  rawFilter: RawPublishFilter | undefined
  readonly #context: ConnectionContext
  readonly #client: Client
  readonly #keepaliveMs: number
  readonly #beforeReading = (): void => {
    this.#context.beforeReading()
    this.readThrottle.onReadable()
  }
  /** Refusals of the current window, plus one for each {@link PAYLOAD_BYTES_PER_POINT} of their payloads. */
  #refusalScore = 0
  #refusalScoreSinceMs = 0
  #refusals = 0
  #refusalsSinceMs = 0
  #noticeSentAtMs = Number.NEGATIVE_INFINITY
  /** QoS 2 messages that aedes is about to acknowledge. */
  #unacknowledged = 0
  #closeWhenAcknowledged: (() => void) | undefined
  /** PUBACKs that are written when their messages have been stored. */
  #pubacks: OrderedPubacks | undefined
  readonly #onAcknowledged = (): void => {
    if (--this.#unacknowledged === 0 && this.#closeWhenAcknowledged !== undefined)
      setImmediate(this.#closeWhenAcknowledged)
  }
  /**
   * Publishes are decided while it is open. Before, the broker has to accept the connection, then an earlier connection
   * of the client id has to finish, then a SUBSCRIBE.
   */
  #stage: 'connecting' | 'awaitsEarlier' | 'awaitsSubscribe' | 'open' = 'connecting'
  #isWillDone = false
  /** Decisions that wait until the connection is open, in order. */
  readonly #waitingForOpen: (() => void)[] = []
  #onFinished: (() => void) | undefined
  readonly #readStops = new Set<ReadStop>()
  readonly #hooks: SenderQueueHooks = {
    onPause: () => this.#stopReading('throttled'),
    onResume: () => {
      if (this.senderQueue.heldOwn === 0 && this.requests.held === 0) this.#resumeReading('throttled')
    },
    onQueued: message => {
      if (message instanceof IncomingPublish) message.onQueued()
    },
    onDequeued: () => this.#onDequeued(),
  }

  constructor(context: ConnectionContext, client: Client, connect: ConnectPacket | undefined) {
    this.#context = context
    this.#client = client
    this.#keepaliveMs = readKeepaliveMs(client, connect)
    this.sender = createConnectionSender(client, connect, context.settings, context.logger)
    // aedes adds a listener for each packet that waits for a slow socket. Their number is bounded by `maxUnsentBytes`.
    client.conn.setMaxListeners(0)
    this.readThrottle = new ReadThrottle(client.conn, {
      clock: context.guard.clock,
      sharedReads: context.sharedReads,
      keepaliveMs: () => this.#keepaliveMs,
      heldRoom: () => context.settings.maxHeldPerSender - this.senderQueue.held,
      heldCount: () => this.senderQueue.heldOwn,
      onAlive: () => this.#refreshKeepalive(),
      isParsing: () => isParserEmitting(aedesClientInternals(client)._parser),
      filterChunk: chunk => this.rawFilter?.filterChunk(chunk) ?? null,
    })
    this.requests = context.guard.senderQueue(this.#hooks, { waitsFully: true })
    this.senderQueue = this.requests
    client.conn.prependListener('readable', this.#beforeReading)
    client.conn.once('close', () => this.handleClose())
  }

  get clientId(): string {
    return this.#client.id
  }

  /** True if publishes may be decided: no earlier connection or SUBSCRIBE has to finish first. */
  get isOpen(): boolean {
    return this.#stage === 'open'
  }

  get isDisconnecting(): boolean {
    return this.disconnectReason !== undefined
  }

  /** Called when the broker has accepted the connection: messages of an earlier one go first. */
  register(): void {
    if (this.#stage !== 'connecting') return
    this.#stage = 'awaitsEarlier'
    const { senderQueue, earlier } = this.#context.queues.assignQueue(this)
    if (senderQueue !== this.requests) {
      this.senderQueue = senderQueue
      senderQueue.attach(this.#hooks)
    }
    const onEarlierFinished = (): void => {
      if (this.#stage === 'awaitsEarlier') this.#openAfterSubscribe()
    }
    if (earlier instanceof Connection && !earlier.isFinished) earlier.#whenFinished(onEarlierFinished)
    else onEarlierFinished()
  }

  /** Calls `decide` about a publish or the will, now or when everything before it is done. */
  whenOpen(decide: () => void): void {
    if (this.#stage === 'connecting' && this.#context.isCurrent(this.#client)) this.register()
    if (this.#stage === 'connecting' && this.#client.closed) {
      this.senderQueue = this.#context.queues.senderQueueOf(this.clientId) ?? this.senderQueue
      this.#stage = 'open'
    }
    if (this.isOpen) {
      decide()
      return
    }
    this.#waitingForOpen.push(decide)
    this.#stopReading('notOpen')
  }

  /**
   * Decides about a subscribe after the earlier publishes of this connection, but not after those of an earlier
   * connection.
   */
  admitRequest<M extends Message>(message: M, enact: Enact<M>, ask?: Ask<M>): void {
    const { senderQueue, requests } = this
    if (senderQueue === requests || senderQueue.heldOwn > 0) {
      senderQueue.admit(message, enact, ask)
      return
    }
    requests.admit(message, enact, ask)
    if (requests.pending === 0) return
    if (this.isOpen) this.#stage = 'awaitsSubscribe'
    requests.onIdle = () => {
      if (this.#stage === 'awaitsSubscribe') this.open()
    }
  }

  /** True when nothing more can arrive, not even the will. */
  get isFinished(): boolean {
    const { will, _disconnected } = aedesClientInternals(this.#client)
    const hasWill = will !== null && will !== undefined && _disconnected !== true && !this.#isWillDone
    return this.isClosed && !hasWill && this.pendingHookCalls === 0 && this.#waitingForOpen.length === 0
  }

  markWillDone(): void {
    this.#isWillDone = true
    this.releaseIfFinished()
  }

  /** Called after a message is decided: closes the connection's queue if it was the last. */
  releaseIfFinished(): void {
    if (!this.isClosed || !this.isFinished) return
    this.#onFinished?.()
    this.#context.queues.release(this)
  }

  #whenFinished(callback: () => void): void {
    const finish = (): void => {
      this.#onFinished = undefined
      cancel()
      callback()
    }
    const cancel = this.#context.guard.clock.after(WILL_WITHIN_MS, finish)
    this.#onFinished = finish
  }

  #openAfterSubscribe(): void {
    const isSubscribing = this.senderQueue !== this.requests && this.requests.pending > 0
    if (isSubscribing) this.#stage = 'awaitsSubscribe'
    else this.open()
  }

  /** Decides all waiting messages now. */
  open(): void {
    this.#stage = 'open'
    while (this.isOpen && this.#waitingForOpen.length > 0) this.#waitingForOpen.shift()!()
    if (!this.isOpen) return
    this.#resumeReading('notOpen')
    this.releaseIfFinished()
  }

  /** Called when a rule's queue holds a message: reading continues up to a bound for each client id. */
  onQueued(): void {
    if (this.isClosed) return
    this.readThrottle.skipPacket()
    const { maxQueuedPerSender } = this.#context.settings
    if (!this.#readStops.has('queueFull') && this.senderQueue.queued >= maxQueuedPerSender)
      this.#stopReading('queueFull')
  }

  #onDequeued(): void {
    if (!this.#readStops.has('queueFull')) return
    if (this.senderQueue.queued <= this.#context.settings.maxQueuedPerSender / 2)
      this.#resumeReading('queueFull')
  }

  #stopReading(reason: ReadStop): void {
    this.#readStops.add(reason)
    this.readThrottle.hold()
  }

  #resumeReading(reason: ReadStop): void {
    this.#readStops.delete(reason)
    if (this.#readStops.size === 0) this.readThrottle.release()
  }

  /** Bytes written for the client and not sent yet. */
  get unsentBytes(): number {
    return this.#client.conn.writableLength
  }

  /** Sends the client a notice about a refusal, if it has subscribed to notices, at most once a second. */
  sendNotice(decision: Decision): void {
    const { notices, guard, counters } = this.#context
    if (notices === undefined || this.isClosed) return
    const nowMs = guard.clock.now()
    if (nowMs - this.#noticeSentAtMs < NOTICE_EVERY_MS) return
    if (!notices.send(this.#client, this.sender, decision)) return
    this.#noticeSentAtMs = nowMs
    counters.notices++
  }

  /**
   * Records a refusal that was acknowledged and discarded. Frequent refusals pause reading; too many disconnect the
   * client if that is configured. Returns true if the client is to be disconnected.
   */
  recordRefusal(message: Message, decision: Decision): boolean {
    const { settings, guard } = this.#context
    this.sendNotice(decision)
    const nowMs = guard.clock.now()
    if (nowMs - this.#refusalsSinceMs >= settings.disconnectWithinMs) {
      this.#refusalsSinceMs = nowMs
      this.#refusals = 0
    }
    if (++this.#refusals >= settings.disconnectAfter) return true
    if (settings.dropGateMs === 0) return false
    if (nowMs - this.#refusalScoreSinceMs >= REFUSAL_SCORE_WINDOW_MS) {
      this.#refusalScoreSinceMs = nowMs
      this.#refusalScore = 0
    }
    this.#refusalScore += 1 + Math.floor(message.size / PAYLOAD_BYTES_PER_POINT)
    if (this.#refusalScore >= settings.dropGateAfter && !this.readThrottle.isPaused) {
      // No longer than the rule takes to recover: otherwise a limit with a small burst would be wasted during the
      // pause.
      const wholeMs = Math.max(MIN_PAUSE_MS, decision.resetMs ?? settings.dropGateMs)
      this.readThrottle.pause(Math.min(settings.dropGateMs, wholeMs))
      this.#refusalScore = 0
    }
    return false
  }

  /** Filters further publishes of this topic before they are parsed, unless that is turned off. */
  filterTopic(topic: string): void {
    const { settings } = this.#context
    if (
      this.isClosed ||
      settings.skimRefused === false ||
      settings.disconnectAfter !== Number.POSITIVE_INFINITY
    )
      return
    if (this.rawFilter === undefined) {
      this.rawFilter = this.#createRawFilter()
      this.readThrottle.startFiltering()
    }
    this.rawFilter.setTopic(topic)
  }

  #createRawFilter(): RawPublishFilter {
    const { guard, refusals, counters } = this.#context
    return new RawPublishFilter({
      parser: aedesClientInternals(this.#client)._parser,
      sender: this.sender,
      mayDecide: () =>
        this.isOpen &&
        this.senderQueue.held === 0 &&
        this.pendingHookCalls === 0 &&
        !this.isDisconnecting &&
        !this.#client.closed &&
        this.#context.mayFilterRaw(),
      ask: message => guard.ask(message),
      refuse: (message, decision) => {
        refusals.recordRefusal(message, decision)
        counters.dropped++
        if (decision.reason !== 'unchanged') this.recordRefusal(message, decision)
      },
      onAlive: () => this.#refreshKeepalive(),
    })
  }

  #refreshKeepalive(): void {
    aedesClientInternals(this.#client)._keepaliveTimer?.refresh?.()
  }

  /**
   * Handles the end of the connection. Held QoS 0 messages and the will are still decided in order. Those of QoS 1 and
   * 2 are dropped unacknowledged, because the client resends them.
   */
  handleClose(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#context.onConnectionClosed(this.#client, this)
    this.readThrottle.dispose()
    if (this.requests !== this.senderQueue) this.requests.detach()
    this.senderQueue.detach(
      message =>
        message instanceof IncomingPublish &&
        (message.will || message.qos === 0 || message.removeStored !== undefined),
    )
    this.releaseIfFinished()
  }

  detach(): void {
    this.#client.conn.removeListener('readable', this.#beforeReading)
    this.readThrottle.detach()
  }

  expectAcknowledgement(): () => void {
    this.#unacknowledged++
    return this.#onAcknowledged
  }

  expectPuback(messageId: number): (error?: Error | null) => void {
    this.#pubacks ??= new OrderedPubacks(this.#client.conn)
    return this.#pubacks.expect(messageId)
  }

  /** Disconnects the client later, because aedes may be parsing, and after accepted messages have been acknowledged. */
  disconnect(error: Error, callback?: (error: Error) => void): void {
    if (this.isDisconnecting) return
    this.disconnectReason = 'policy'
    const close = (): void => {
      this.#closeWhenAcknowledged = undefined
      cancel()
      if (this.#client.closed) return
      if (callback) callback(error)
      else this.#client.close()
    }
    const cancel = this.#context.guard.clock.after(ACKNOWLEDGE_WITHIN_MS, close)
    this.#closeWhenAcknowledged = close
    if (this.#unacknowledged === 0) setImmediate(close)
  }
}

function readKeepaliveMs(client: Client, connect: ConnectPacket | undefined): number {
  if (connect !== undefined) return (connect.keepalive ?? 0) * 1_000
  // The client connected before the limiter was attached: aedes waits one and a half keepalives.
  const interval = aedesClientInternals(client)._keepaliveInterval ?? 0
  return interval > 0 ? Math.floor(interval / 1.5) : 0
}
