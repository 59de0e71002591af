import type { Clock } from '../clock.ts'
import { type Decision, PASSED } from '../decision.ts'
import type { Gate } from '../gate.ts'
import type { Logger } from '../logger.ts'
import type { MaybePromise, Message } from '../message.ts'
import type { Settings } from './options.ts'
import { Outbox } from './outbox.ts'
import { Pace } from './pace.ts'
import { Entry } from './row.ts'
import type { Shelf } from './shelf.ts'

/** What became of a message. */
export interface Published {
  /**
   * `sent`: the server has acknowledged it, or it is written where there are no acknowledgements. `dropped`: see `why`.
   * `refused`: by the server, or by a rule that rejects. `failed`: the client could not send it.
   */
  readonly outcome: 'sent' | 'dropped' | 'refused' | 'failed'
  /** Of `dropped`: no room, too old, a newer one of its topic came, a rule drops it, the publisher was closed. */
  readonly why?: 'overflow' | 'expired' | 'superseded' | 'limited' | 'closed'
  /** Times it was handed to the client. */
  readonly attempts: number
  readonly waitedMs: number
  /** The rule's answer, where one refused it. */
  readonly decision?: Decision
  /** What the client or server said, of `failed` and `refused`. */
  readonly error?: unknown
}

/** How the client fared with a message; undefined where all is well. */
export interface SendFailure {
  readonly error: unknown
  /** The server asks for less: it may be sent again, later. */
  readonly slowDown: boolean
}

/** A broker's client, as a publisher sees it. */
export interface Carrier<C> {
  /** Connected; what would be sent now is not kept for later. */
  isReady(): boolean
  /** Whether as much is under way as may be. Asked again whenever something has settled. */
  hasRoom(message: Message): boolean
  /** Hands a message to the client and tells once how it went. Must not throw. */
  send(message: Message, cargo: C, decision: Decision, settle: (failure?: SendFailure) => void): void
}

export interface PublisherStats {
  /** Messages and bytes (of payloads and topics) that wait. */
  readonly waiting: number
  readonly waitingBytes: number
  readonly waitingPeak: number
  /** Handed to the client and not settled. */
  readonly underWay: number
  readonly underWayPeak: number
  readonly sent: number
  readonly dropped: number
  readonly refused: number
  readonly failed: number
  /** Messages that passed because the gate failed. */
  readonly gateFailures: number
  /** Times the server asked to slow down, and messages a second it may have now; undefined while it did not. */
  readonly slowDowns: number
  readonly pacePerSecond: number | undefined
}

/** What a message asks for besides being published. */
export interface Wanted {
  readonly rank: number
  readonly latest: boolean
}

/**
 * Publishes at the rate of a gate: what may not go yet waits in a bounded queue, also while there is no connection, while enough is
 * under way, or after the server asked for less. Order per topic and rank is that of the calls.
 */
export class Publisher<C> {
  readonly #gate: Gate
  readonly #carrier: Carrier<C>
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #settings: Settings
  readonly #outbox: Outbox<C>
  readonly #pace = new Pace()
  /** Ends the wait of all: for the pace, or where there are too many shelves. */
  #cancelWait: (() => void) | undefined
  #cancelExpiry: (() => void) | undefined
  #asked: Entry<C> | undefined
  #pumping = false
  #closed = false
  #order = 0
  #underWay = 0
  #idle: (() => void)[] = []
  readonly #counts = {
    gateFailures: 0,
    sent: 0,
    dropped: 0,
    refused: 0,
    failed: 0,
    slowDowns: 0,
    waitingPeak: 0,
    underWayPeak: 0,
  }

  constructor(gate: Gate, carrier: Carrier<C>, clock: Clock, logger: Logger, settings: Settings) {
    this.#logger = logger
    this.#gate = gate
    this.#carrier = carrier
    this.#clock = clock
    this.#settings = settings
    this.#outbox = new Outbox(settings)
  }

  /** Publishes a message when it may go, and tells what became of it. Never rejects. */
  publish(message: Message, cargo: C, wanted: Wanted): Promise<Published> {
    return new Promise(tell => {
      const entry = new Entry(message, cargo, wanted, this.#order++, this.#clock.now(), tell)
      if (this.#closed) this.#drop(entry, 'closed')
      else if (!this.#supersedes(entry) && this.#makeRoom(entry)) {
        this.#outbox.add(entry)
        this.#counts.waitingPeak = Math.max(this.#counts.waitingPeak, this.#outbox.count)
        this.#watchAge()
      }
      this.pump()
    })
  }

  /** Sends all that may go now. To be called when the client is ready again. */
  pump(): void {
    if (this.#pumping || this.#asked !== undefined || this.#cancelWait !== undefined) return
    this.#pumping = true
    try {
      while (this.#step());
    } finally {
      this.#pumping = false
    }
    this.#tellIdle()
  }

  /** The server asks for less. */
  slowDown(): void {
    this.#counts.slowDowns++
    this.#pace.refused(this.#clock.now())
  }

  /** Resolves when nothing waits and nothing is under way, with true; after `withinMs` with false. */
  flush(withinMs = Infinity): Promise<boolean> {
    return new Promise(resolve => {
      const cancel = withinMs === Infinity ? undefined : this.#clock.after(withinMs, () => resolve(false))
      this.#idle.push(() => {
        cancel?.()
        resolve(true)
      })
      this.#tellIdle()
    })
  }

  /** Drops all that waits, and what comes later. What is under way is the client's. */
  close(): void {
    this.#closed = true
    this.#cancelWait?.()
    this.#cancelExpiry?.()
    for (const entry of this.#outbox.entries()) {
      this.#outbox.remove(entry)
      this.#drop(entry, 'closed')
    }
    this.#outbox.takeAllDown()
    this.#tellIdle()
  }

  stats(): PublisherStats {
    const { waitingPeak, underWayPeak, ...counts } = this.#counts
    return {
      waiting: this.#outbox.count + (this.#asked === undefined ? 0 : 1),
      waitingBytes: this.#outbox.bytes,
      waitingPeak,
      underWay: this.#underWay,
      underWayPeak,
      ...counts,
      pacePerSecond: this.#pace.perSecond,
    }
  }

  /** Deals with the next in turn; false when nothing may go on now. */
  #step(): boolean {
    if (this.#closed || !this.#carrier.isReady()) return false
    const next = this.#outbox.next()
    if (next === undefined) return false
    const { entry, shelf } = next
    if (shelf === this.#outbox.open && !this.#outbox.isSorted) {
      const behind = this.#shelfBehind(entry.message)
      if (behind !== undefined) {
        this.#outbox.remove(entry)
        entry.latest ||= behind.keepsLatest
        if (!entry.latest || !this.#supersedes(entry)) this.#outbox.add(entry, behind)
        return true
      }
    }
    if (!this.#carrier.hasRoom(entry.message)) return false
    const waitMs = this.#pace.waitMs(this.#clock.now())
    if (waitMs > 0) {
      this.#wait(waitMs)
      return false
    }
    // Out of the queue while it is asked about: what is charged must not be pushed out.
    this.#outbox.remove(entry)
    const answer = this.#ask(entry.message)
    if (!(answer instanceof Promise)) {
      this.#enact(entry, shelf, answer)
      return this.#cancelWait === undefined
    }
    this.#asked = entry
    answer.then(decision => {
      this.#asked = undefined
      if (this.#closed) this.#drop(entry, 'closed')
      else this.#enact(entry, shelf, decision)
      this.pump()
    })
    return false
  }

  #ask(message: Message): MaybePromise<Decision> {
    try {
      const answer = this.#gate.check(message)
      return answer instanceof Promise ? answer.catch((cause: unknown) => this.#fall(cause)) : answer
    } catch (cause) {
      return this.#fall(cause)
    }
  }

  /** A gate that fails stops nobody; what it says is logged the first time. */
  #fall(err: unknown): Decision {
    if (this.#counts.gateFailures++ === 0) {
      try {
        this.#logger.error({ err }, 'the gate of a publisher failed, the message passes')
      } catch {
        // A logger that throws must not stop a publisher.
      }
    }
    return PASSED
  }

  #enact(entry: Entry<C>, shelf: Shelf<C>, decision: Decision): void {
    switch (decision.outcome) {
      case 'deliver':
      case 'degrade':
        this.#send(entry, decision)
        return
      case 'throttle':
      case 'queue':
      case 'latest':
      case 'retry':
        if (decision.retryAfterMs < Infinity) this.#setAside(entry, shelf, decision)
        else this.#drop(entry, 'limited', decision)
        return
      case 'reject':
        this.#settle(entry, { outcome: 'refused', decision })
        return
      default:
        this.#drop(entry, 'limited', decision)
    }
  }

  #send(entry: Entry<C>, decision: Decision): void {
    this.#underWay++
    this.#counts.underWayPeak = Math.max(this.#counts.underWayPeak, this.#underWay)
    this.#pace.sent(this.#clock.now())
    entry.attempts++
    this.#carrier.send(entry.message, entry.cargo, decision, failure => {
      this.#underWay--
      if (failure === undefined) this.#settle(entry, { outcome: 'sent' })
      else this.#retry(entry, failure)
      this.pump()
    })
  }

  #retry(entry: Entry<C>, { error, slowDown }: SendFailure): void {
    if (!slowDown) {
      this.#settle(entry, { outcome: 'failed', error })
      return
    }
    this.slowDown()
    const newer = entry.latest ? this.#outbox.latestOf(entry.message.topic) : undefined
    if (newer !== undefined) this.#drop(entry, 'superseded')
    else if (entry.attempts > this.#settings.retries || this.#closed)
      this.#settle(entry, { outcome: 'refused', error })
    else this.#outbox.putBack(entry)
  }

  /** The rule refuses all of this key for a while: what else waits goes on. */
  #setAside(entry: Entry<C>, from: Shelf<C>, decision: Decision): void {
    if (decision.outcome === 'latest') {
      const newer = this.#outbox.latestOf(entry.message.topic)
      if (newer !== undefined) {
        this.#drop(entry, 'superseded')
        return
      }
      entry.latest = true
    }
    const rule = decision.rule ?? ''
    const shelf = this.#outbox.setUp(rule, this.#keyOf(rule, entry.message) ?? '')
    if (shelf === undefined) {
      this.#outbox.putBack(entry, from)
      this.#wait(decision.retryAfterMs)
      return
    }
    shelf.keepsLatest = decision.outcome === 'latest'
    this.#outbox.putBack(entry, shelf)
    shelf.cancelSleep?.()
    shelf.cancelSleep = this.#clock.after(Math.max(1, decision.retryAfterMs), () => {
      shelf.cancelSleep = undefined
      this.pump()
    })
  }

  #shelfBehind(message: Message): Shelf<C> | undefined {
    for (const rule of this.#outbox.rules) {
      const key = this.#keyOf(rule, message)
      const shelf = key === undefined ? undefined : this.#outbox.shelfOf(rule, key)
      if (shelf !== undefined) return shelf
    }
    return undefined
  }

  #keyOf(rule: string, message: Message): string | undefined {
    try {
      return this.#gate.keyOf(rule, message)
    } catch {
      return undefined
    }
  }

  /** Takes the place of an older one of its topic, of which only the newest counts. */
  #supersedes(entry: Entry<C>): boolean {
    const older = this.#outbox.latestOf(entry.message.topic)
    if (older === undefined) return false
    if (!this.#outbox.mayGrow(entry.message.size - older.message.size)) {
      this.#drop(entry, 'overflow')
      return true
    }
    const { tell, sinceMs } = older
    this.#outbox.exchange(older, () => {
      older.message = entry.message
      older.cargo = entry.cargo
      older.tell = entry.tell
      older.sinceMs = entry.sinceMs
    })
    this.#counts.dropped++
    tell({ outcome: 'dropped', why: 'superseded', attempts: 0, waitedMs: this.#clock.now() - sinceMs })
    return true
  }

  #makeRoom(newcomer: Entry<C>): boolean {
    for (;;) {
      const victim = this.#outbox.victimFor(newcomer)
      if (victim === undefined) return true
      if (victim === 'newcomer') {
        this.#drop(newcomer, 'overflow')
        return false
      }
      this.#outbox.remove(victim)
      this.#drop(victim, 'overflow')
    }
  }

  #watchAge(): void {
    const { maxAgeMs } = this.#settings
    if (maxAgeMs === Infinity || this.#cancelExpiry !== undefined) return
    const nowMs = this.#clock.now()
    const oldestMs = this.#outbox.expire(nowMs - maxAgeMs + 1, entry => this.#drop(entry, 'expired'))
    this.#tellIdle()
    if (oldestMs === Infinity) return
    this.#cancelExpiry = this.#clock.after(Math.max(1, oldestMs + maxAgeMs - nowMs), () => {
      this.#cancelExpiry = undefined
      this.#watchAge()
    })
  }

  #wait(ms: number): void {
    this.#cancelWait = this.#clock.after(Math.max(1, ms), () => {
      this.#cancelWait = undefined
      this.pump()
    })
  }

  #drop(entry: Entry<C>, why: NonNullable<Published['why']>, decision?: Decision): void {
    this.#settle(entry, { outcome: 'dropped', why, ...(decision && { decision }) })
  }

  #settle(entry: Entry<C>, end: Omit<Published, 'attempts' | 'waitedMs'>): void {
    this.#counts[end.outcome]++
    entry.tell({ ...end, attempts: entry.attempts, waitedMs: this.#clock.now() - entry.sinceMs })
  }

  #tellIdle(): void {
    if (this.#underWay > 0 || this.#outbox.count > 0 || this.#asked !== undefined) return
    const idle = this.#idle
    if (idle.length === 0) return
    this.#idle = []
    for (const tell of idle) tell()
  }
}
