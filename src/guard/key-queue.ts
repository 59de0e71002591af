import type { Decision } from '../core/decision.ts'
import { isPromise } from '../core/maybe-promise.ts'
import type { MaybePromise } from '../core/message.ts'
import type { Slice, SlicedTask, SlicedWork } from '../core/sliced-work.ts'
import { type QueuedItem, SubQueue } from './sub-queue.ts'
import type { ToQueue } from './types.ts'

/** What a line needs of the rule that holds. */
export interface KeyQueueBudget {
  readonly rule: string
  readonly work: SlicedWork
  readonly keepsLatest: boolean
  park(key: string, arrived: ToQueue): void
  /** Takes a message out in whose place a newer one has passed. */
  supersede(entry: QueuedItem): void
  after(ms: number, run: () => void): () => void
  ask(entry: QueuedItem): MaybePromise<Decision>
  /** How long the rule itself refuses, where others may refuse for longer. */
  ownWaitMs(entry: QueuedItem, decision: Decision): number
  /** Whether a message may wait as long as a decision says. */
  mayWait(entry: QueuedItem, decision: Decision): boolean
  /** Takes a message out and has it enacted. */
  release(entry: QueuedItem, decision: Decision): void
  /** Takes a message out that cannot wait any longer. */
  refuse(entry: QueuedItem, decision: Decision): void
  /** Takes a message out that nobody is to enact. */
  forget(entry: QueuedItem): void
  /** A message has come from another flow of its line. */
  moved(entry: QueuedItem, from: SubQueue): void
  emptied(keyQueue: KeyQueue): void
}

/** The flows of one rank; and of these the ones that are not asleep, in the order of their turns. */
interface Rank {
  readonly flows: Map<unknown, SubQueue>
  readonly turns: Set<SubQueue>
}

/** What holds a message further. */
const HOLDING: ReadonlySet<string> = new Set(['throttle', 'queue', 'latest'])

/**
 * What waits for one key of a rule: the most urgent first, in turns between flows of one rank. Asks the gate about
 * one message at a time, again when it said it would allow the next.
 */
export class KeyQueue implements SlicedTask {
  readonly key: string
  /** The last answer of its rule: what a newcomer is told, who has to wait behind. */
  refusal: Decision
  readonly queue: KeyQueueBudget
  /** By rank; made when first needed: most lines have one. */
  readonly #ranks: (Rank | undefined)[] = []
  count = 0
  #cancelTimer: (() => void) | undefined
  #asking = false
  #pumping = false
  askedVersion: number
  /** It goes on in a later slice. */
  #isSliced = false

  constructor(key: string, queue: KeyQueueBudget, refusal: Decision) {
    this.key = key
    this.queue = queue
    this.askedVersion = queue.work.version
    this.refusal = refusal
  }

  get keepsLatest(): boolean {
    return this.queue.keepsLatest
  }

  /** The flow of a sender or topic at a rank, made if need be. */
  flowOf(key: unknown, rank: number): SubQueue {
    return this.#ranks[rank]?.flows.get(key) ?? new SubQueue(this, key, rank)
  }

  append(entry: QueuedItem): void {
    const { flow } = entry
    flow.append(entry)
    this.count++
    if (flow.count > 1) return
    const { flows, turns } = this.#rankOf(flow)
    flows.set(flow.key, flow)
    turns.add(flow)
  }

  remove(entry: QueuedItem): void {
    this.#unlink(entry)
    if (this.count === 0) {
      this.stop()
      this.queue.emptied(this)
    }
  }

  /** Moves a message to the end of another flow of this line. */
  move(entry: QueuedItem, to: SubQueue): void {
    const from = entry.flow
    this.#unlink(entry)
    entry.flow = to
    this.append(entry)
    this.queue.moved(entry, from)
  }

  forget(entry: QueuedItem): void {
    this.queue.forget(entry)
  }

  /** The next in turn; undefined where all who wait are refused by other rules. */
  next(): QueuedItem | undefined {
    for (let rank = this.#ranks.length - 1; rank >= 0; rank--) {
      const flow = this.#ranks[rank]?.turns.values().next().value
      if (flow !== undefined) return flow.first
    }
    return undefined
  }

  /** Waits as long as a refusal says, unless it waits already. */
  waitFor(entry: QueuedItem, decision: Decision): void {
    const ownMs = decision.rule === this.queue.rule ? this.queue.ownWaitMs(entry, decision) : 0
    if (decision.rule === this.queue.rule) this.refusal = decision
    if (ownMs > 0) this.#wait(ownMs)
    // Whoever another rule refuses for longer must not keep the others from their turn.
    if (ownMs <= 0 || ownMs < decision.retryAfterMs) this.#sleep(entry.flow, decision.retryAfterMs)
  }

  /** Asks about those in turn until one is refused. */
  pump(): void {
    if (this.#pumping || this.#asking || this.#isSliced || this.#cancelTimer !== undefined) return
    this.#pumping = true
    let calm = false
    try {
      let slice: Slice | undefined
      for (let entry = this.next(); entry; entry = this.next()) {
        slice ??= this.queue.work.slice()
        if (slice.isOver()) {
          this.#isSliced = true
          this.queue.work.goOnLater(this)
          break
        }
        if (entry.olderOfTopic !== undefined && entry.hasToFollow) {
          entry.flow.isBlocked = true
          this.#rankOf(entry.flow).turns.delete(entry.flow)
          continue
        }
        entry.asking = true
        const answer = this.queue.ask(entry)
        if (isPromise(answer)) {
          this.#await(entry, answer)
          break
        }
        this.#settle(entry, answer)
        if (this.#cancelTimer !== undefined) break
      }
      calm = true
    } finally {
      this.#pumping = false
      // Whoever enacts may throw; those behind it must not wait for ever.
      if (!calm && this.count > 0) this.#wait(1)
    }
  }

  /** An older message has gone that the head of a flow had to follow. */
  unblock(flow: SubQueue): void {
    if (!flow.isBlocked) return
    flow.isBlocked = false
    if (flow.cancelSleep === undefined && flow.count > 0) this.#rankOf(flow).turns.add(flow)
    this.pump()
  }

  /** Asks again about all that wait for their time. */
  askAgain(): void {
    this.stop()
    for (const rank of this.#ranks) {
      for (const flow of rank?.flows.values() ?? []) {
        if (flow.cancelSleep === undefined) continue
        flow.cancelSleep()
        flow.cancelSleep = undefined
        if (!flow.isBlocked) rank?.turns.add(flow)
      }
    }
    this.pump()
  }

  goOn(): void {
    this.#isSliced = false
    this.pump()
  }

  stop(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  #unlink(entry: QueuedItem): void {
    const { flow } = entry
    flow.remove(entry)
    this.count--
    if (flow.count > 0) return
    const { flows, turns } = this.#rankOf(flow)
    flow.cancelSleep?.()
    flows.delete(flow.key)
    turns.delete(flow)
  }

  #await(entry: QueuedItem, answer: Promise<Decision>): void {
    this.#asking = true
    const { version } = this.queue.work
    answer.then(decision => {
      this.#asking = false
      try {
        const isOutdated = HOLDING.has(decision.outcome) && version !== this.queue.work.version
        if (isOutdated) entry.asking = false
        else if (!entry.gone) this.#settle(entry, decision)
      } finally {
        this.pump()
      }
    })
  }

  #settle(entry: QueuedItem, decision: Decision): void {
    entry.asking = false
    if (HOLDING.has(decision.outcome)) {
      entry.refusal = decision
      if (this.queue.mayWait(entry, decision)) this.waitFor(entry, decision)
      else this.queue.refuse(entry, decision)
      return
    }
    const { flow } = entry
    if (flow.count > 1) {
      // The next turn is another's.
      const { turns } = this.#rankOf(flow)
      turns.delete(flow)
      turns.add(flow)
    }
    this.queue.release(entry, decision)
  }

  #wait(ms: number): void {
    this.stop()
    this.#cancelTimer = this.queue.after(Math.max(1, ms), () => {
      this.#cancelTimer = undefined
      this.pump()
    })
  }

  #sleep(flow: SubQueue, ms: number): void {
    this.#rankOf(flow).turns.delete(flow)
    flow.cancelSleep?.()
    flow.cancelSleep = this.queue.after(Math.max(1, ms), () => {
      flow.cancelSleep = undefined
      if (!flow.isBlocked) this.#rankOf(flow).turns.add(flow)
      this.pump()
    })
  }

  #rankOf({ rank }: SubQueue): Rank {
    const known = this.#ranks[rank]
    if (known !== undefined) return known
    const made: Rank = { flows: new Map(), turns: new Set() }
    this.#ranks[rank] = made
    return made
  }
}
