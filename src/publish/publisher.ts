import { hashLongPart } from '../core/bounded-text.ts'
import { afterAwaited, type Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import type { Logger } from '../core/logger.ts'
import type { Message } from '../core/message.ts'
import { Slice } from '../core/sliced-work.ts'
import type { Gate } from '../gate/gate.ts'
import { Admission } from './admission.ts'
import { Entry } from './linked-list.ts'
import type { Settings } from './options.ts'
import { Pacer } from './pacer.ts'
import type { Partition } from './partition.ts'
import { PublishQueue } from './publish-queue.ts'
import { PublishResults } from './publish-results.ts'
import { type FailedDecision, SafeGate } from './safe-gate.ts'
import type { Published, PublisherStats, QueuePlacement, SendFailure, Transport } from './types.ts'

/** Outcomes by which a message waits. */
const WAITING: ReadonlySet<string> = new Set(['throttle', 'queue', 'latest', 'retry'])
/** How long a message that no server serves is sent again, and the waits between. */
const LONGEST_UNSERVED_MS = 30_000
const FIRST_UNSERVED_WAIT_MS = 100
const LONGEST_UNSERVED_WAIT_MS = 1_000

/**
 * Publishes at the rate of a gate: what may not go yet waits in a bounded queue, also while there is no connection, while enough is
 * under way, or after the server asked for less. Order per topic and rank is that of the calls.
 */
export class Publisher<C> {
  readonly #gate: Gate
  readonly #transport: Transport<C>
  readonly #clock: Clock
  readonly #safeGate: SafeGate
  readonly #settings: Settings
  readonly #publishQueue: PublishQueue<C>
  readonly #results: PublishResults<C>
  readonly #admission: Admission<C>
  readonly #pacer = new Pacer()
  /** Ends the wait of all: for the pace, or where there are too many shelves. */
  #cancelWait: (() => void) | undefined
  #asked: Entry<C> | undefined
  /** The newest of each topic that is under way and keeps only its latest. */
  readonly #latestUnderWay = new Map<string, Entry<C>>()
  #pumping = false
  /** Counts changes of the gate: a refusal that was asked for before the last one is out of date. */
  #changes = 0
  /** Goes on in a later turn of the event loop. */
  #cancelLater: (() => void) | undefined
  #closed = false
  #order = 0
  #underWay = 0
  #idle: (() => void)[] = []
  #underWayPeak = 0
  #slowDowns = 0
  #unservedWaitMs = FIRST_UNSERVED_WAIT_MS

  constructor(gate: Gate, transport: Transport<C>, clock: Clock, logger: Logger, settings: Settings) {
    this.#gate = gate
    this.#safeGate = new SafeGate(gate, logger, clock)
    this.#transport = transport
    this.#clock = clock
    this.#settings = settings
    this.#publishQueue = new PublishQueue(settings)
    this.#results = new PublishResults(clock)
    this.#admission = new Admission(
      this.#publishQueue,
      this.#results,
      clock,
      settings.maxAgeMs,
      message => this.#shelfBehind(message),
      () => this.#tellIdle(),
    )
    gate.on('changed', this.#onChanged)
  }

  /** Publishes a message when it may go, and resolves with what became of it. Never rejects. */
  publish(message: Message, cargo: C, wanted: QueuePlacement): Promise<Published> {
    const { signal } = wanted
    return new Promise(resolve => {
      const aborted = (): void => this.#abort(entry)
      const tell = signal === undefined ? resolve : endListening
      const entry = new Entry(message, cargo, wanted, this.#order++, this.#clock.now(), tell)
      if (signal?.aborted) this.#results.drop(entry, 'aborted')
      else if (this.#closed || this.#transport.isEnded()) this.#results.drop(entry, 'closed')
      else {
        signal?.addEventListener('abort', aborted, { once: true })
        this.#admission.take(entry)
      }
      this.pump()

      function endListening(published: Published): void {
        signal?.removeEventListener('abort', aborted)
        resolve(published)
      }
    })
  }

  /** Answers for something that is not a message that can be sent. */
  refuse(error: Error): Promise<Published> {
    this.#results.counts.failed++
    return Promise.resolve({ outcome: 'failed', error, attempts: 0, waitedMs: 0 })
  }

  /** Sends all that may go now. To be called when the client is ready again. */
  pump(): void {
    if (this.#pumping || this.#asked !== undefined || this.#cancelWait !== undefined) return
    if (this.#cancelLater !== undefined) return
    this.#pumping = true
    try {
      const slice = new Slice(this.#clock)
      while (this.#step()) {
        if (!slice.isOver()) continue
        this.#pumpLater()
        break
      }
    } finally {
      this.#pumping = false
    }
    this.#tellIdle()
  }

  /** What waits for its time is asked about again, as the gate may decide otherwise now. */
  readonly #onChanged = (): void => {
    this.#changes++
    this.#cancelWait?.()
    this.#cancelWait = undefined
    this.#publishQueue.wakeAll()
    this.#pumpLater()
  }

  #pumpLater(): void {
    this.#cancelLater ??= this.#clock.after(1, () => {
      this.#cancelLater = undefined
      this.pump()
    })
  }

  /** The server asks for less. */
  slowDown(): void {
    this.#slowDowns++
    this.#pacer.refused(this.#clock.now())
  }

  /** Resolves when nothing waits and nothing is under way, with true; after `withinMs` with false. */
  flush(withinMs = Infinity): Promise<boolean> {
    return new Promise(resolve => {
      const cancel =
        withinMs === Infinity ? undefined : afterAwaited(this.#clock, withinMs, () => resolve(false))
      this.whenIdle(() => {
        cancel?.()
        resolve(true)
      })
    })
  }

  /**
   * Drops all that waits, and what comes later. Messages under way are settled by the client, or as failed once it is not
   * connected.
   */
  close(): void {
    this.#closed = true
    this.#dropAll()
    this.disconnected()
  }

  /** The client was ended: drops all that waits; what is under way has failed. */
  clientEnded(): void {
    this.#dropAll()
    this.#transport.failAll(new Error('the client was ended before the message was acknowledged'))
    this.#tellIdle()
  }

  /** To be called when the connection has gone: once the publisher is closed, nothing waits for another. */
  disconnected(): void {
    if (this.#closed && !this.#transport.isReady())
      this.#transport.failAll(new Error('the publisher was closed before the message was acknowledged'))
    this.#tellIdle()
  }

  /** Calls back when nothing waits and nothing is under way; at once if that is so. */
  whenIdle(then: () => void): void {
    this.#idle.push(then)
    this.#tellIdle()
  }

  #dropAll(): void {
    this.#gate.off('changed', this.#onChanged)
    this.#cancelLater?.()
    this.#cancelLater = undefined
    this.#cancelWait?.()
    this.#cancelWait = undefined
    this.#admission.close()
    for (const entry of this.#publishQueue.entries()) {
      this.#publishQueue.remove(entry)
      this.#results.drop(entry, 'closed')
    }
    this.#publishQueue.takeAllDown()
    if (this.#asked !== undefined) this.#results.drop(this.#asked, 'closed')
    this.#asked = undefined
  }

  /** Drops a message that still waits. */
  #abort(entry: Entry<C>): void {
    if (entry.row !== undefined) this.#publishQueue.remove(entry)
    else if (entry !== this.#asked) return
    this.#results.drop(entry, 'aborted')
    this.#tellIdle()
  }

  stats(): PublisherStats {
    return {
      ...this.#results.counts,
      waiting: this.#publishQueue.count + (this.#asked === undefined ? 0 : 1),
      waitingBytes: this.#publishQueue.bytes,
      waitingPeak: this.#admission.peak,
      underWay: this.#underWay,
      underWayPeak: this.#underWayPeak,
      gateFailures: this.#safeGate.failures,
      slowDowns: this.#slowDowns,
      pacePerSecond: this.#pacer.perSecond,
    }
  }

  /** Deals with the next in turn; false when nothing may go on now. */
  #step(): boolean {
    if (this.#closed || !this.#transport.isReady()) return false
    const next = this.#publishQueue.next()
    if (next === undefined) return false
    const { entry, partition } = next
    if (partition === this.#publishQueue.open && !this.#publishQueue.isSorted) {
      const behind = this.#shelfBehind(entry.message)
      if (behind !== undefined) {
        this.#publishQueue.remove(entry)
        entry.latest ||= behind.keepsLatest
        if (!this.#admission.supersedes(entry)) this.#publishQueue.add(entry, behind)
        return true
      }
    }
    if (!this.#transport.hasRoom(entry.message)) return false
    const waitMs = this.#pacer.waitMs(this.#clock.now())
    if (waitMs > 0) {
      this.#wait(waitMs)
      return false
    }
    // Out of the queue while it is asked about: what is charged must not be pushed out.
    this.#publishQueue.remove(entry)
    const answer = this.#safeGate.ask(entry.message)
    if (!(answer instanceof Promise)) {
      this.#enact(entry, partition, answer)
      return this.#cancelWait === undefined
    }
    this.#asked = entry
    const changes = this.#changes
    answer.then(decision => {
      if (this.#asked === entry) this.#asked = undefined
      const isOutdated = changes !== this.#changes && WAITING.has(decision.outcome) && !this.#closed
      if (!entry.isSettled && isOutdated) {
        if (!this.#admission.supersedes(entry)) this.#publishQueue.putBack(entry, partition)
      } else if (!entry.isSettled) this.#enact(entry, partition, decision)
      this.pump()
    })
    return false
  }

  #enact(entry: Entry<C>, partition: Partition<C>, decision: Decision): void {
    switch (decision.outcome) {
      case 'deliver':
      case 'degrade':
        this.#send(entry, decision)
        return
      case 'throttle':
      case 'queue':
      case 'latest':
      case 'retry':
        if (decision.retryAfterMs < Infinity) this.#setAside(entry, partition, decision)
        else this.#results.drop(entry, 'limited', decision)
        return
      case 'reject':
        this.#refuse(entry, decision)
        return
      default:
        this.#results.drop(entry, 'limited', decision)
    }
  }

  /** Settles as refused by a rule, or because the gate failed: then with the gate's error. */
  #refuse(entry: Entry<C>, decision: Decision | FailedDecision): void {
    if ('error' in decision) {
      const { error, ...rest } = decision
      this.#results.settle(entry, { outcome: 'refused', decision: rest, error })
    } else this.#results.settle(entry, { outcome: 'refused', decision })
  }

  #send(entry: Entry<C>, decision: Decision): void {
    this.#underWay++
    this.#underWayPeak = Math.max(this.#underWayPeak, this.#underWay)
    this.#pacer.sent(this.#clock.now())
    entry.attempts++
    this.#outdateOlder(entry)
    this.#transport.send(entry.message, entry.cargo, decision, failure => {
      this.#underWay--
      if (entry.latest) this.#latestHasSettled(entry)
      if (failure === undefined) {
        this.#unservedWaitMs = FIRST_UNSERVED_WAIT_MS
        this.#results.settle(entry, { outcome: 'sent' })
      } else this.#retry(entry, failure)
      this.pump()
    })
  }

  /** Nothing older of the topic that keeps only its latest is sent after this one. */
  #outdateOlder(entry: Entry<C>): void {
    const { topic } = entry.message
    const waiting = this.#publishQueue.latestOf(topic)
    if (waiting !== undefined && waiting.sequence < entry.sequence) {
      this.#publishQueue.remove(waiting)
      this.#results.drop(waiting, 'superseded')
    }
    if (!entry.latest && this.#latestUnderWay.size === 0) return
    const key = hashLongPart(topic)
    const underWay = this.#latestUnderWay.get(key)
    if (underWay !== undefined && underWay.sequence < entry.sequence) underWay.isOutdated = true
    if (entry.latest) this.#latestUnderWay.set(key, entry)
  }

  #latestHasSettled(entry: Entry<C>): void {
    const key = hashLongPart(entry.message.topic)
    if (this.#latestUnderWay.get(key) === entry) this.#latestUnderWay.delete(key)
  }

  #retry(entry: Entry<C>, { error, slowDown, again }: SendFailure): void {
    if (!slowDown && (again === undefined || this.#closed)) {
      this.#results.settle(entry, { outcome: 'failed', error })
      return
    }
    // An outage is no measurement of what the server can take.
    if (slowDown) this.slowDown()
    if (entry.signal?.aborted) this.#results.drop(entry, 'aborted')
    else if (entry.isOutdated) this.#results.drop(entry, 'superseded')
    else if (this.#admission.supersedes(entry)) return
    else if (
      this.#closed ||
      (again === 'later' ? this.#isUnserved(entry) : ++entry.refusals > this.#settings.retries)
    )
      this.#results.settle(entry, { outcome: 'refused', error })
    else {
      this.#publishQueue.putBack(entry)
      if (again === 'later') this.#waitForServer()
    }
  }

  /** Whether no server has served a message for so long that it is given up. */
  #isUnserved(entry: Entry<C>): boolean {
    const nowMs = this.#clock.now()
    entry.unservedSinceMs ??= nowMs
    return nowMs - entry.unservedSinceMs >= LONGEST_UNSERVED_MS
  }

  /** Asks again after a while, longer each time until something is served. */
  #waitForServer(): void {
    if (this.#cancelWait !== undefined) return
    this.#wait(this.#unservedWaitMs)
    this.#unservedWaitMs = Math.min(2 * this.#unservedWaitMs, LONGEST_UNSERVED_WAIT_MS)
  }

  /** The rule refuses all of this key for a while: what else waits goes on. */
  #setAside(entry: Entry<C>, from: Partition<C>, decision: Decision): void {
    if (decision.outcome === 'latest') {
      entry.latest = true
      if (this.#admission.supersedes(entry)) return
    }
    const rule = decision.rule ?? ''
    const partition = this.#publishQueue.setUp(rule, this.#safeGate.keyOf(rule, entry.message) ?? '')
    if (partition === undefined) {
      this.#publishQueue.putBack(entry, from)
      this.#wait(decision.retryAfterMs)
      return
    }
    partition.keepsLatest = decision.outcome === 'latest'
    this.#publishQueue.putBack(entry, partition)
    partition.cancelSleep?.()
    partition.cancelSleep = this.#clock.after(Math.max(1, decision.retryAfterMs), () => {
      partition.cancelSleep = undefined
      this.pump()
    })
  }

  #shelfBehind(message: Message): Partition<C> | undefined {
    for (const rule of this.#publishQueue.rules) {
      const key = this.#safeGate.keyOf(rule, message)
      const partition = key === undefined ? undefined : this.#publishQueue.partitionOf(rule, key)
      if (partition !== undefined) return partition
    }
    return undefined
  }

  #wait(ms: number): void {
    this.#cancelWait = this.#clock.after(Math.max(1, ms), () => {
      this.#cancelWait = undefined
      this.pump()
    })
  }

  #tellIdle(): void {
    if (this.#underWay > 0 || this.#publishQueue.count > 0 || this.#asked !== undefined) return
    const idle = this.#idle
    if (idle.length === 0) return
    this.#idle = []
    for (const tell of idle) tell()
  }
}
