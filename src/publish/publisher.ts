import { type Clock, startAwaitedTimer } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { hashLongPart } from '../core/hash-long-part.ts'
import type { Logger } from '../core/logger.ts'
import type { Message } from '../core/message.ts'
import { WorkSlice } from '../core/sliced-work.ts'
import type { Gate } from '../gate/gate.ts'
import { SafeGate } from '../guard/safe-gate.ts'
import type { PublisherSettings } from './options.ts'
import { PublishEntry, PublishResults } from './publish-entry.ts'
import { PublishQueue, type QueuePartition } from './publish-queue.ts'
import { QueueAdmission } from './queue-admission.ts'
import { SlowDownPacer } from './slow-down-pacer.ts'
import type {
  Published,
  PublisherStats,
  PublishQueueOptions,
  PublishTransport,
  SendFailure,
} from './types.ts'

/** Outcomes after which a message waits. */
const WAITING_OUTCOMES: ReadonlySet<string> = new Set(['throttle', 'queue', 'latest', 'retry'])
/** Longest time to send a message again that no server serves, and the waits between attempts. */
const LONGEST_UNSERVED_MS = 30_000
const FIRST_UNSERVED_WAIT_MS = 100
const LONGEST_UNSERVED_WAIT_MS = 1_000

/** Refusal of a message about which the gate failed. */
interface FailedDecision extends Decision {
  readonly error: unknown
}

/** Gate that may fail or be late. Messages then pass only if the store failed and its fallback is `allow`. */
class PublisherGate extends SafeGate {
  override applyFallback(error: unknown): Decision | FailedDecision {
    const decision = super.applyFallback(error)
    return decision.allowed ? decision : { ...decision, error }
  }
}

/**
 * Publishes messages at the rate of a gate. Other messages wait in a bounded queue, also while there is no connection,
 * while too many are in flight, or after the server asked to slow down. Keeps the order of the calls per topic and rank.
 */
export class Publisher<C> {
  readonly #gate: Gate
  readonly #transport: PublishTransport<C>
  readonly #clock: Clock
  readonly #safeGate: PublisherGate
  readonly #settings: PublisherSettings
  readonly #publishQueue: PublishQueue<C>
  readonly #results: PublishResults<C>
  readonly #admission: QueueAdmission<C>
  readonly #pacer = new SlowDownPacer()
  /** Ends the wait of the whole queue: for the pacer, the server, or if there are too many partitions. */
  #cancelWait: (() => void) | undefined
  #entryInCheck: PublishEntry<C> | undefined
  /** Newest `latest` message in flight of each topic. */
  readonly #latestInFlight = new Map<string, PublishEntry<C>>()
  #isPumping = false
  /** Number of gate changes. A refusal requested before the last change is out of date. */
  #changes = 0
  /** Cancels the continuation in a later turn of the event loop. */
  #cancelLater: (() => void) | undefined
  #isClosed = false
  #order = 0
  #inFlight = 0
  #idleCallbacks: (() => void)[] = []
  #inFlightPeak = 0
  #slowDowns = 0
  #unservedDelayMs = FIRST_UNSERVED_WAIT_MS

  constructor(
    gate: Gate,
    transport: PublishTransport<C>,
    clock: Clock,
    logger: Logger,
    settings: PublisherSettings,
  ) {
    this.#gate = gate
    this.#safeGate = new PublisherGate(gate, {
      clock,
      middlewareFallback: 'deny',
      logger,
      failureText: 'the gate of a publisher failed, the fallback answers',
    })
    this.#transport = transport
    this.#clock = clock
    this.#settings = settings
    this.#publishQueue = new PublishQueue(settings)
    this.#results = new PublishResults(clock)
    this.#admission = new QueueAdmission(
      this.#publishQueue,
      this.#results,
      this.#safeGate,
      clock,
      settings.maxAgeMs,
      () => this.#notifyIdle(),
    )
    gate.on('changed', this.#onChanged)
  }

  /** Publishes a message when the gate allows it, and resolves with the result. Never rejects. */
  publish(message: Message, clientData: C, placement: PublishQueueOptions): Promise<Published> {
    const { signal } = placement
    return new Promise(resolve => {
      const onAborted = (): void => this.#abort(entry)
      const settle = signal === undefined ? resolve : removeListenerAndResolve
      const entry = new PublishEntry(message, clientData, placement, this.#order++, this.#clock.now(), settle)
      if (signal?.aborted) this.#results.drop(entry, 'aborted')
      else if (this.#isClosed || this.#transport.isEnded()) this.#results.drop(entry, 'closed')
      else {
        signal?.addEventListener('abort', onAborted, { once: true })
        this.#admission.enqueue(entry)
      }
      this.pump()

      function removeListenerAndResolve(published: Published): void {
        signal?.removeEventListener('abort', onAborted)
        resolve(published)
      }
    })
  }

  /** Returns the result for a value that is not a valid message. */
  refuse(error: Error): Promise<Published> {
    this.#results.counts.failed++
    return Promise.resolve({ outcome: 'failed', error, attempts: 0, waitedMs: 0 })
  }

  /** Sends all messages that may go now. Call it when the client is ready again. */
  pump(): void {
    if (this.#isPumping || this.#entryInCheck !== undefined || this.#cancelWait !== undefined) return
    if (this.#cancelLater !== undefined) return
    this.#isPumping = true
    try {
      const slice = new WorkSlice(this.#clock)
      while (this.#processNext()) {
        if (!slice.isOver()) continue
        this.#pumpLater()
        break
      }
    } finally {
      this.#isPumping = false
    }
    this.#notifyIdle()
  }

  /** Asks again about waiting messages, because the gate may decide differently now. */
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

  /** Reduces the rate at the server's request. */
  slowDown(): void {
    this.#slowDowns++
    this.#pacer.recordRefusal(this.#clock.now())
  }

  /** Resolves with true when no message waits or is in flight, or with false after `withinMs`. */
  flush(withinMs = Infinity): Promise<boolean> {
    return new Promise(resolve => {
      const cancel =
        withinMs === Infinity ? undefined : startAwaitedTimer(this.#clock, withinMs, () => resolve(false))
      this.whenIdle(() => {
        cancel?.()
        resolve(true)
      })
    })
  }

  /**
   * Drops all waiting and later messages. The client settles messages in flight; they fail when the connection is lost.
   */
  close(): void {
    this.#isClosed = true
    this.#dropAll()
    this.disconnected()
  }

  /** Drops all waiting messages and fails those in flight, because the client was ended. */
  clientEnded(): void {
    this.#dropAll()
    this.#transport.failAll(new Error('the client was ended before the message was acknowledged'))
    this.#notifyIdle()
  }

  /** Call it when the connection is lost. A closed publisher does not wait for another one. */
  disconnected(): void {
    if (this.#isClosed && !this.#transport.isReady())
      this.#transport.failAll(new Error('the publisher was closed before the message was acknowledged'))
    this.#notifyIdle()
  }

  /** Calls `then` when no message waits or is in flight; at once if that is so now. */
  whenIdle(then: () => void): void {
    this.#idleCallbacks.push(then)
    this.#notifyIdle()
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
    this.#publishQueue.removeAllPartitions()
    if (this.#entryInCheck !== undefined) this.#results.drop(this.#entryInCheck, 'closed')
    this.#entryInCheck = undefined
  }

  /** Drops a message that still waits. */
  #abort(entry: PublishEntry<C>): void {
    if (entry.list !== undefined) this.#publishQueue.remove(entry)
    else if (entry !== this.#entryInCheck) return
    this.#results.drop(entry, 'aborted')
    this.#notifyIdle()
  }

  stats(): PublisherStats {
    return {
      ...this.#results.counts,
      waiting: this.#publishQueue.count + (this.#entryInCheck === undefined ? 0 : 1),
      waitingBytes: this.#publishQueue.bytes,
      waitingPeak: this.#admission.peak,
      underWay: this.#inFlight,
      underWayPeak: this.#inFlightPeak,
      gateFailures: this.#safeGate.fallbacks,
      slowDowns: this.#slowDowns,
      pacePerSecond: this.#pacer.perSecond,
    }
  }

  /** Handles the next message in turn. Returns false if none can continue now. */
  #processNext(): boolean {
    if (this.#isClosed || !this.#transport.isReady()) return false
    const next = this.#publishQueue.next()
    if (next === undefined) return false
    const { entry, partition } = next
    if (partition === this.#publishQueue.undecided && this.#publishQueue.hasHeld) {
      const partitionAhead = this.#admission.partitionAhead(entry.message)
      if (partitionAhead !== undefined) {
        this.#publishQueue.remove(entry)
        entry.latest ||= partitionAhead.keepsLatest
        if (!this.#admission.supersedeOlder(entry)) this.#publishQueue.add(entry, partitionAhead)
        return true
      }
    }
    if (!this.#transport.hasRoom(entry.message)) return false
    const waitMs = this.#pacer.waitMs(this.#clock.now())
    if (waitMs > 0) {
      this.#pauseFor(waitMs)
      return false
    }
    // Out of the queue while the gate is asked. A charged message must not be pushed out.
    this.#publishQueue.remove(entry)
    const answer = this.#safeGate.ask(entry.message)
    if (!(answer instanceof Promise)) {
      this.#enact(entry, partition, answer)
      return this.#cancelWait === undefined
    }
    this.#entryInCheck = entry
    const changes = this.#changes
    answer.then(decision => {
      if (this.#entryInCheck === entry) this.#entryInCheck = undefined
      const isOutdated =
        changes !== this.#changes && WAITING_OUTCOMES.has(decision.outcome) && !this.#isClosed
      if (!entry.isSettled && isOutdated) {
        if (!this.#admission.supersedeOlder(entry)) this.#publishQueue.putBack(entry, partition)
      } else if (!entry.isSettled) this.#enact(entry, partition, decision)
      this.pump()
    })
    return false
  }

  #enact(entry: PublishEntry<C>, partition: QueuePartition<C>, decision: Decision): void {
    switch (decision.outcome) {
      case 'deliver':
      case 'degrade':
        this.#send(entry, decision)
        return
      case 'throttle':
      case 'queue':
      case 'latest':
      case 'retry':
        if (decision.retryAfterMs < Infinity) this.#holdBack(entry, partition, decision)
        else this.#results.drop(entry, 'limited', decision)
        return
      case 'reject':
        this.#refuse(entry, decision)
        return
      default:
        this.#results.drop(entry, 'limited', decision)
    }
  }

  /** Settles a message as refused by a rule or, with the gate's error, because the gate failed. */
  #refuse(entry: PublishEntry<C>, decision: Decision | FailedDecision): void {
    if ('error' in decision) {
      const { error, ...rest } = decision
      this.#results.settle(entry, { outcome: 'refused', decision: rest, error })
    } else this.#results.settle(entry, { outcome: 'refused', decision })
  }

  #send(entry: PublishEntry<C>, decision: Decision): void {
    this.#inFlight++
    this.#inFlightPeak = Math.max(this.#inFlightPeak, this.#inFlight)
    this.#pacer.recordSent(this.#clock.now())
    entry.attempts++
    this.#outdateOlder(entry)
    this.#transport.send(entry.message, entry.clientData, decision, failure => {
      this.#inFlight--
      if (entry.latest) this.#removeLatest(entry)
      if (failure === undefined) {
        this.#unservedDelayMs = FIRST_UNSERVED_WAIT_MS
        this.#results.settle(entry, { outcome: 'sent' })
      } else this.#retry(entry, failure)
      this.pump()
    })
  }

  /** Drops or outdates older `latest` messages of the topic, so that none is sent after this one. */
  #outdateOlder(entry: PublishEntry<C>): void {
    const { topic } = entry.message
    const waiting = this.#publishQueue.latestOf(topic)
    if (waiting !== undefined && waiting.sequence < entry.sequence) {
      this.#publishQueue.remove(waiting)
      this.#results.drop(waiting, 'superseded')
    }
    if (!entry.latest && this.#latestInFlight.size === 0) return
    const key = hashLongPart(topic)
    const inFlight = this.#latestInFlight.get(key)
    if (inFlight !== undefined && inFlight.sequence < entry.sequence) inFlight.isOutdated = true
    if (entry.latest) this.#latestInFlight.set(key, entry)
  }

  #removeLatest(entry: PublishEntry<C>): void {
    const key = hashLongPart(entry.message.topic)
    if (this.#latestInFlight.get(key) === entry) this.#latestInFlight.delete(key)
  }

  #retry(entry: PublishEntry<C>, { error, slowDown, again }: SendFailure): void {
    this.#gate.forgetPayload(entry.message)
    if (!slowDown && (again === undefined || this.#isClosed)) {
      this.#results.settle(entry, { outcome: 'failed', error })
      return
    }
    // An outage does not measure the capacity of the server.
    if (slowDown) this.slowDown()
    if (entry.signal?.aborted) this.#results.drop(entry, 'aborted')
    else if (entry.isOutdated) this.#results.drop(entry, 'superseded')
    else if (this.#admission.supersedeOlder(entry)) return
    else if (
      this.#isClosed ||
      (again === 'later' ? this.#isUnserved(entry) : ++entry.refusals > this.#settings.retries)
    )
      this.#results.settle(entry, { outcome: 'refused', error })
    else {
      this.#publishQueue.putBack(entry)
      if (again === 'later') this.#waitForServer()
    }
  }

  /** Returns true if no server has served a message for so long that it is given up. */
  #isUnserved(entry: PublishEntry<C>): boolean {
    const nowMs = this.#clock.now()
    entry.unservedSinceMs ??= nowMs
    return nowMs - entry.unservedSinceMs >= LONGEST_UNSERVED_MS
  }

  /** Tries again after a wait that doubles until a message is served. */
  #waitForServer(): void {
    if (this.#cancelWait !== undefined) return
    this.#pauseFor(this.#unservedDelayMs)
    this.#unservedDelayMs = Math.min(2 * this.#unservedDelayMs, LONGEST_UNSERVED_WAIT_MS)
  }

  /** Puts a message into the partition of a rule and key that refuses it for a while. Other messages continue. */
  #holdBack(entry: PublishEntry<C>, from: QueuePartition<C>, decision: Decision): void {
    if (decision.outcome === 'latest') {
      entry.latest = true
      if (this.#admission.supersedeOlder(entry)) return
    }
    const rule = decision.rule ?? ''
    const partition = this.#publishQueue.getOrCreatePartition(
      rule,
      this.#safeGate.keyOf(rule, entry.message) ?? '',
    )
    if (partition === undefined) {
      this.#publishQueue.putBack(entry, from)
      this.#pauseFor(decision.retryAfterMs)
      return
    }
    partition.keepsLatest = decision.outcome === 'latest'
    this.#publishQueue.putBack(entry, partition)
    const cancelSleep = this.#clock.after(Math.max(1, decision.retryAfterMs), () => {
      this.#publishQueue.wake(partition)
      this.pump()
    })
    this.#publishQueue.putToSleep(partition, cancelSleep)
  }

  #pauseFor(ms: number): void {
    this.#cancelWait = this.#clock.after(Math.max(1, ms), () => {
      this.#cancelWait = undefined
      this.pump()
    })
  }

  #notifyIdle(): void {
    if (this.#inFlight > 0 || this.#publishQueue.count > 0 || this.#entryInCheck !== undefined) return
    const callbacks = this.#idleCallbacks
    if (callbacks.length === 0) return
    this.#idleCallbacks = []
    for (const callback of callbacks) callback()
  }
}
