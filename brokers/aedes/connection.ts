import type { Client, ConnectPacket } from 'aedes'
import type { Decision } from '../../src/decision.ts'
import type { Guard, Lane } from '../../src/guard.ts'
import type { Logger } from '../../src/logger.ts'
import type { Message, Sender } from '../../src/message.ts'
import type { RefusalLog } from '../../src/outcomes/refusal-log.ts'
import { PublishMessage, type Source } from './message.ts'
import { NOTICE_EVERY_MS, type Notices } from './notices.ts'
import type { Settings } from './options.ts'
import { type Crowd, ReadGate } from './read-gate.ts'
import { senderOf } from './sender.ts'
import { isTelling, type ParserState, Skim } from './skim.ts'

/** The shortest and, where a rule does not say when it is whole, the assumed pause after refusals. */
const SHORTEST_PAUSE_MS = 5
const PRESSURE_WINDOW_MS = 1_000
const PAYLOAD_BYTES_PER_REFUSAL = 8_192

/** The longest wait for acknowledgements before a disconnect: aedes acknowledges QoS 2 after the delivery. */
const ACKNOWLEDGE_WITHIN_MS = 5_000

/** What aedes keeps to itself of a client; used where it is there. */
interface Inside {
  readonly _keepaliveTimer?: { refresh?(): void } | null
  readonly _keepaliveInterval?: number
  readonly _parser?: ParserState
}

/** What a connection shares with the others of its limiter. */
export interface Surroundings {
  readonly guard: Guard
  readonly settings: Settings
  readonly logger: Logger
  readonly connections: Set<Connection>
  readonly crowd: Crowd
  readonly refusals: RefusalLog
  readonly notices: Notices | undefined
  readonly tally: { dropped: number; notices: number }
  maySkim(): boolean
  beforeReading(): void
}

/** One connection of aedes: who sends, what of it is held, whether it is read. */
export class Connection implements Source {
  readonly sender: Sender
  readonly lane: Lane
  readonly reading: ReadGate
  /** It is being disconnected: nothing of it is taken any more, nor acknowledged. */
  condemned = false
  /** Publishes the application's own hook has not answered for yet. */
  unanswered = 0
  /** Made at the first refusal. */
  skim: Skim | undefined
  readonly #around: Surroundings
  readonly #client: Client
  readonly #keepaliveMs: number
  readonly #beforeReading = (): void => this.#around.beforeReading()
  #pressure = 0
  #pressureSinceMs = 0
  #refusals = 0
  #refusalsSinceMs = 0
  #toldAtMs = Number.NEGATIVE_INFINITY
  #gone = false
  /** QoS 2 messages that aedes is about to acknowledge. */
  #unacknowledged = 0
  #close: (() => void) | undefined
  readonly #onAcknowledged = (): void => {
    if (--this.#unacknowledged === 0 && this.#close !== undefined) setImmediate(this.#close)
  }
  /** Messages that wait in queues of rules. */
  #parked = 0
  /** The lane holds, and too much waits in queues: each stops the reading. */
  #throttled = false
  #crowded = false

  constructor(around: Surroundings, client: Client, connect: ConnectPacket | undefined) {
    this.#around = around
    this.#client = client
    this.#keepaliveMs = readKeepaliveMs(client, connect)
    this.sender = senderOf(client, connect, around.settings, around.logger)
    this.reading = new ReadGate(client.conn, {
      clock: around.guard.clock,
      crowd: around.crowd,
      keepaliveMs: () => this.#keepaliveMs,
      roomFor: () => around.settings.maxHeldPerSender - this.lane.held,
      held: () => this.lane.held,
      onAlive: () => this.#refreshKeepalive(),
      parsing: () => isTelling((client as Inside)._parser),
      sift: chunk => this.skim?.sift(chunk) ?? null,
    })
    this.lane = around.guard.lane({
      onHold: () => {
        this.#throttled = true
        this.reading.hold()
      },
      onFree: () => {
        this.#throttled = false
        this.#readOn()
      },
      onPark: message => {
        if (message instanceof PublishMessage) message.park()
      },
    })
    client.conn.prependListener('readable', this.#beforeReading)
    client.conn.once('close', () => this.leave())
  }

  /** A queue is shared and slows nobody down: its senders are read on, up to a bound. */
  parked(): void {
    if (this.#gone) return
    this.reading.passOver()
    if (++this.#parked < this.#around.settings.maxQueuedPerSender || this.#crowded) return
    this.#crowded = true
    this.reading.hold()
  }

  unparked(): void {
    if (this.#gone) return
    this.#parked--
    if (!this.#crowded || this.#parked > this.#around.settings.maxQueuedPerSender / 2) return
    this.#crowded = false
    this.#readOn()
  }

  #readOn(): void {
    if (!this.#throttled && !this.#crowded) this.reading.release()
  }

  /** Written for the client, and not sent yet. */
  get unsentBytes(): number {
    return this.#client.conn.writableLength
  }

  /** Tells the client of a refusal, where it has asked for that, at most once a second. */
  tell(decision: Decision): void {
    const { notices, guard, tally } = this.#around
    if (notices === undefined || this.#gone) return
    const nowMs = guard.clock.now()
    if (nowMs - this.#toldAtMs < NOTICE_EVERY_MS) return
    if (!notices.tell(this.#client, this.sender, decision)) return
    this.#toldAtMs = nowMs
    tally.notices++
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
    if (this.#gone || settings.skimRefused === false || settings.disconnectAfter !== Number.POSITIVE_INFINITY)
      return
    if (this.skim === undefined) {
      this.skim = this.#makeSkim()
      this.reading.startSifting()
    }
    this.skim.expect(topic)
  }

  #makeSkim(): Skim {
    const { guard, refusals, tally } = this.#around
    return new Skim({
      conn: this.#client.conn,
      parser: (this.#client as Inside)._parser,
      sender: this.sender,
      mayDecide: () =>
        this.lane.held === 0 &&
        this.unanswered === 0 &&
        !this.condemned &&
        !this.#client.closed &&
        this.#around.maySkim(),
      ask: message => guard.ask(message),
      refuse: (message, decision) => {
        refusals.note(message, decision)
        tally.dropped++
        this.refused(message, decision)
        return !this.reading.shut
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
    if (this.#gone) return
    this.#gone = true
    this.#around.connections.delete(this)
    this.reading.dispose()
    this.lane.leave(
      message =>
        message instanceof PublishMessage &&
        (message.will || message.qos === 0 || message.withdraw !== undefined),
    )
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
  condemn(error: Error, callback?: (error: Error) => void): void {
    if (this.condemned) return
    this.condemned = true
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
