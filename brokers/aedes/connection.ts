import type { Client, ConnectPacket } from 'aedes'
import type { Decision } from '../../src/core/decision.ts'
import type { Logger } from '../../src/core/logger.ts'
import type { Message, Sender } from '../../src/core/message.ts'
import type { Ask, Enact, Guard, SenderQueue, SenderQueueHooks } from '../../src/guard/guard.ts'
import type { RefusalLog } from '../../src/guard/refusal-log.ts'
import type { Holdings } from './holdings.ts'
import { PublishMessage, type Source } from './message.ts'
import { NOTICE_EVERY_MS, type Notices } from './notices.ts'
import type { Settings } from './options.ts'
import { isTelling, type ParserState, RawPublishFilter } from './raw-publish-filter.ts'
import { type Crowd, ReadThrottle } from './read-throttle.ts'
import { senderOf } from './sender.ts'
import type { QueueUser, SenderQueues } from './sender-queues.ts'

/** The shortest and, where a rule does not say when it is whole, the assumed pause after refusals. */
const SHORTEST_PAUSE_MS = 5
const PRESSURE_WINDOW_MS = 1_000
const PAYLOAD_BYTES_PER_REFUSAL = 8_192

/** The longest wait for acknowledgements before a disconnect: aedes acknowledges QoS 2 after the delivery. */
const ACKNOWLEDGE_WITHIN_MS = 5_000

/** The longest wait for the will of an earlier connection: the application's own hook is asked about it first. */
const WILL_WITHIN_MS = 1_000

/** What aedes keeps to itself of a client; used where it is there. */
interface Inside {
  readonly will?: object | null | undefined
  /** It has sent a DISCONNECT: it has no will any more. */
  readonly _disconnected?: boolean | undefined
  readonly _keepaliveTimer?: { refresh?(): void } | null | undefined
  readonly _keepaliveInterval?: number | undefined
  readonly _parser?: ParserState | undefined
}

/** What a connection shares with the others of its limiter. */
export interface ConnectionContext {
  readonly guard: Guard
  readonly settings: Settings
  readonly logger: Logger
  readonly connections: Set<Connection>
  readonly queues: SenderQueues
  readonly crowd: Crowd
  readonly refusals: RefusalLog
  readonly notices: Notices | undefined
  readonly counters: { dropped: number; notices: number }
  readonly holdings: Holdings
  mayFilterRaw(): boolean
  beforeReading(): void
  /** Whether the broker has a client as the one of its id. */
  isCurrent(client: Client): boolean
}

/** One connection of aedes: who sends, what of it is held, whether it is read. */
export class Connection implements Source, QueueUser {
  readonly sender: Sender
  /** Where connects and subscribes wait for themselves. */
  readonly requests: SenderQueue
  /** Where publishes wait: the lane of the client id, once the broker has taken the connection. */
  senderQueue: SenderQueue
  /** Publishes may be decided: nothing of an earlier connection, nor an earlier subscribe, has to go first. */
  isOpen = false
  readonly reading: ReadThrottle
  /** It is being disconnected: nothing of it is taken any more, nor acknowledged. */
  disconnecting = false
  isCutOff = false
  /** Publishes the application's own hook has not answered for yet. */
  unanswered = 0
  isGone = false
  /** Made at the first refusal. */
  rawFilter: RawPublishFilter | undefined
  readonly #around: ConnectionContext
  readonly #client: Client
  readonly #keepaliveMs: number
  readonly #beforeReading = (): void => {
    this.#around.beforeReading()
    this.reading.onReadable()
  }
  #pressure = 0
  #pressureSinceMs = 0
  #refusals = 0
  #refusalsSinceMs = 0
  #toldAtMs = Number.NEGATIVE_INFINITY
  /** QoS 2 messages that aedes is about to acknowledge. */
  #unacknowledged = 0
  #close: (() => void) | undefined
  readonly #onAcknowledged = (): void => {
    if (--this.#unacknowledged === 0 && this.#close !== undefined) setImmediate(this.#close)
  }
  #isRegistered = false
  /** Nothing of an earlier connection of the client id is to come any more. */
  #isNext = false
  #willTaken = false
  /** What came before it was open, in its order. */
  readonly #early: (() => void)[] = []
  #onOver: (() => void) | undefined
  /** A lane holds, too much waits in queues, something has to go first: each stops the reading. */
  #throttled = false
  #crowded = false
  #barred = false
  readonly #hooks: SenderQueueHooks = {
    onPause: () => {
      this.#throttled = true
      this.reading.hold()
    },
    onResume: () => {
      this.#throttled = this.senderQueue.heldOwn > 0 || this.requests.held > 0
      this.#readOn()
    },
    onQueued: message => {
      if (message instanceof PublishMessage) message.park()
    },
    onDequeued: () => this.#unparked(),
  }

  constructor(around: ConnectionContext, client: Client, connect: ConnectPacket | undefined) {
    this.#around = around
    this.#client = client
    this.#keepaliveMs = readKeepaliveMs(client, connect)
    this.sender = senderOf(client, connect, around.settings, around.logger)
    this.reading = new ReadThrottle(client.conn, {
      clock: around.guard.clock,
      crowd: around.crowd,
      keepaliveMs: () => this.#keepaliveMs,
      roomFor: () => around.settings.maxHeldPerSender - this.senderQueue.held,
      held: () => this.senderQueue.heldOwn,
      onAlive: () => this.#refreshKeepalive(),
      parsing: () => isTelling((client as Inside)._parser),
      filterChunk: chunk => this.rawFilter?.filterChunk(chunk) ?? null,
    })
    this.requests = around.guard.senderQueue(this.#hooks, { waitsFully: true })
    this.senderQueue = this.requests
    client.conn.prependListener('readable', this.#beforeReading)
    client.conn.once('close', () => this.leave())
  }

  get clientId(): string {
    return this.#client.id
  }

  /** The broker has taken it as the connection of its client id: what an earlier one left goes first. */
  register(): void {
    if (this.#isRegistered) return
    this.#isRegistered = true
    const { senderQueue, earlier } = this.#around.queues.open(this)
    if (senderQueue !== this.requests) {
      this.senderQueue = senderQueue
      senderQueue.attach(this.#hooks)
    }
    const next = (): void => {
      this.#isNext = true
      this.#open()
    }
    if (earlier instanceof Connection && !earlier.isOver) earlier.#whenOver(next)
    else next()
  }

  /** Decides about a publish or the will: at once, or when all that has to go first has gone. */
  whenOpen(run: () => void): void {
    if (!this.#isRegistered && this.#around.isCurrent(this.#client)) this.register()
    if (!this.#isRegistered && this.#client.closed) {
      this.senderQueue = this.#around.queues.senderQueueOf(this.clientId) ?? this.senderQueue
      this.isOpen = true
    }
    if (this.isOpen) {
      run()
      return
    }
    this.#early.push(run)
    this.#barred = true
    this.reading.hold()
  }

  /** Has a subscribe decided, behind what this connection published; not behind what an earlier one left. */
  admitRequest<M extends Message>(message: M, enact: Enact<M>, ask?: Ask<M>): void {
    const { senderQueue, requests } = this
    if (senderQueue === requests || senderQueue.heldOwn > 0) {
      senderQueue.admit(message, enact, ask)
      return
    }
    requests.admit(message, enact, ask)
    if (requests.pending === 0 || !this.isOpen) return
    this.isOpen = false
    requests.onIdle = () => this.#open()
  }

  /** The limiter is taken off: what waits for its turn is decided at once. */
  openNow(): void {
    this.isOpen = true
    this.#runEarly()
  }

  /** Nothing of it is to come any more, not even its will. */
  get isOver(): boolean {
    const { will, _disconnected } = this.#client as Inside
    const hasWill = will !== null && will !== undefined && _disconnected !== true && !this.#willTaken
    return this.isGone && !hasWill && this.unanswered === 0 && this.#early.length === 0
  }

  willTaken(): void {
    this.#willTaken = true
    this.settle()
  }

  /** Something of it was taken: it may have been the last. */
  settle(): void {
    if (!this.isGone || !this.isOver) return
    this.#onOver?.()
    this.#around.queues.settle(this)
  }

  #whenOver(run: () => void): void {
    const over = (): void => {
      this.#onOver = undefined
      cancel()
      run()
    }
    const cancel = this.#around.guard.clock.after(WILL_WITHIN_MS, over)
    this.#onOver = over
  }

  #open(): void {
    const waits = this.senderQueue !== this.requests && this.requests.pending > 0
    if (this.isOpen || !this.#isNext || waits) return
    this.isOpen = true
    this.#runEarly()
  }

  #runEarly(): void {
    while (this.isOpen && this.#early.length > 0) this.#early.shift()!()
    if (!this.isOpen) return
    this.#barred = false
    this.#readOn()
    this.settle()
  }

  /** A queue is shared and slows nobody down: its senders are read on, up to a bound for each client id. */
  queued(): void {
    if (this.isGone) return
    this.reading.passOver()
    const { maxQueuedPerSender } = this.#around.settings
    if (this.#crowded || this.senderQueue.queued < maxQueuedPerSender) return
    this.#crowded = true
    this.reading.hold()
  }

  #unparked(): void {
    if (!this.#crowded || this.senderQueue.queued > this.#around.settings.maxQueuedPerSender / 2) return
    this.#crowded = false
    this.#readOn()
  }

  #readOn(): void {
    if (!this.#throttled && !this.#crowded && !this.#barred) this.reading.release()
  }

  /** Written for the client, and not sent yet. */
  get unsentBytes(): number {
    return this.#client.conn.writableLength
  }

  /** Tells the client of a refusal, where it has asked for that, at most once a second. */
  tell(decision: Decision): void {
    const { notices, guard, counters } = this.#around
    if (notices === undefined || this.isGone) return
    const nowMs = guard.clock.now()
    if (nowMs - this.#toldAtMs < NOTICE_EVERY_MS) return
    if (!notices.tell(this.#client, this.sender, decision)) return
    this.#toldAtMs = nowMs
    counters.notices++
  }

  /**
   * Notes a refusal that was acknowledged and discarded: refusals that come thick shut the read gate for a while,
   * and too many of them condemn the client where that is configured. True when the client is to be disconnected.
   */
  refused(message: Message, decision: Decision): boolean {
    const { settings, guard } = this.#around
    this.tell(decision)
    const nowMs = guard.clock.now()
    if (nowMs - this.#refusalsSinceMs >= settings.disconnectWithinMs) {
      this.#refusalsSinceMs = nowMs
      this.#refusals = 0
    }
    if (++this.#refusals >= settings.disconnectAfter) return true
    if (settings.dropGateMs === 0) return false
    if (nowMs - this.#pressureSinceMs >= PRESSURE_WINDOW_MS) {
      this.#pressureSinceMs = nowMs
      this.#pressure = 0
    }
    this.#pressure += 1 + Math.floor(message.size / PAYLOAD_BYTES_PER_REFUSAL)
    if (this.#pressure >= settings.dropGateAfter && !this.reading.shut) {
      // Not longer than the rule takes to be whole: a limit with a small burst would be wasted while nobody reads.
      const wholeMs = Math.max(SHORTEST_PAUSE_MS, decision.resetMs ?? settings.dropGateMs)
      this.reading.pause(Math.min(settings.dropGateMs, wholeMs))
      this.#pressure = 0
    }
    return false
  }

  /** More publishes of this topic are looked for in the bytes, unless that is turned off. */
  expectMore(topic: string): void {
    const { settings } = this.#around
    if (
      this.isGone ||
      settings.skimRefused === false ||
      settings.disconnectAfter !== Number.POSITIVE_INFINITY
    )
      return
    if (this.rawFilter === undefined) {
      this.rawFilter = this.#makeSkim()
      this.reading.startSifting()
    }
    this.rawFilter.expect(topic)
  }

  #makeSkim(): RawPublishFilter {
    const { guard, refusals, counters } = this.#around
    return new RawPublishFilter({
      parser: (this.#client as Inside)._parser,
      sender: this.sender,
      mayDecide: () =>
        this.isOpen &&
        this.senderQueue.held === 0 &&
        this.unanswered === 0 &&
        !this.disconnecting &&
        !this.#client.closed &&
        this.#around.mayFilterRaw(),
      ask: message => guard.ask(message),
      refuse: (message, decision) => {
        refusals.recordRefusal(message, decision)
        counters.dropped++
        this.refused(message, decision)
      },
      onAlive: () => this.#refreshKeepalive(),
    })
  }

  #refreshKeepalive(): void {
    ;(this.#client as Inside)._keepaliveTimer?.refresh?.()
  }

  /**
   * The connection has closed. Held messages of QoS 0 and the will go on in their turn, as nobody sends them again;
   * those of QoS 1 and 2 are forgotten unacknowledged: their client sends them again.
   */
  leave(): void {
    if (this.isGone) return
    this.isGone = true
    this.#around.connections.delete(this)
    this.#around.holdings.ended(this.#client, this)
    this.reading.dispose()
    if (this.requests !== this.senderQueue) this.requests.detach()
    this.senderQueue.detach(
      message =>
        message instanceof PublishMessage &&
        (message.will || message.qos === 0 || message.withdraw !== undefined),
    )
    this.settle()
  }

  /** The limiter has been taken off. */
  detach(): void {
    this.#client.conn.removeListener('readable', this.#beforeReading)
    this.reading.detach()
  }

  expectAcknowledgement(): () => void {
    this.#unacknowledged++
    return this.#onAcknowledged
  }

  /** Disconnects: later, as aedes may be in the midst of parsing, and after what passed has been acknowledged. */
  disconnect(error: Error, callback?: (error: Error) => void): void {
    if (this.disconnecting) return
    this.disconnecting = true
    this.isCutOff = true
    const close = (): void => {
      this.#close = undefined
      cancel()
      if (this.#client.closed) return
      if (callback) callback(error)
      else this.#client.close()
    }
    const cancel = this.#around.guard.clock.after(ACKNOWLEDGE_WITHIN_MS, close)
    this.#close = close
    if (this.#unacknowledged === 0) setImmediate(close)
  }
}

function readKeepaliveMs(client: Client, connect: ConnectPacket | undefined): number {
  if (connect !== undefined) return (connect.keepalive ?? 0) * 1_000
  // A client that was there before the limiter: aedes counts to one and a half keepalives.
  const interval = (client as Inside)._keepaliveInterval ?? 0
  return interval > 0 ? Math.floor(interval / 1.5) : 0
}
