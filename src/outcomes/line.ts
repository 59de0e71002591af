import type { Decision } from '../decision.ts'
import type { MaybePromise } from '../message.ts'
import { Flow, type Parked } from './flow.ts'
import { isLater } from './holding.ts'

/** What a line needs of the rule that holds. */
export interface LineKeeper {
  readonly rule: string
  after(ms: number, run: () => void): () => void
  ask(entry: Parked): MaybePromise<Decision>
  /** How long the rule itself refuses, where others may refuse for longer. */
  ownWaitMs(entry: Parked, decision: Decision): number
  /** Whether a message may wait as long as a decision says. */
  mayWait(entry: Parked, decision: Decision): boolean
  /** Takes a message out and has it enacted. */
  release(entry: Parked, decision: Decision): void
  /** Takes a message out that cannot wait any longer. */
  refuse(entry: Parked, decision: Decision): void
  /** Takes a message out that nobody is to enact. */
  forget(entry: Parked): void
  emptied(line: Line): void
}

/** The flows of one rank; and of these the ones that are not asleep, in the order of their turns. */
interface Rank {
  readonly flows: Map<unknown, Flow>
  readonly turns: Set<Flow>
}

/** What holds a message further. */
const HOLDING: ReadonlySet<string> = new Set(['throttle', 'queue', 'latest'])

/**
 * What waits for one key of a rule: the most urgent first, in turns between flows of one rank. Asks the gate about
 * one message at a time, again when it said it would allow the next.
 */
export class Line {
  readonly key: string
  /** The last answer of its rule: what a newcomer is told, who has to wait behind. */
  refusal: Decision
  readonly #keeper: LineKeeper
  /** By rank; made when first needed: most lines have one. */
  readonly #ranks: (Rank | undefined)[] = []
  count = 0
  #cancelTimer: (() => void) | undefined
  #asking = false
  #pumping = false

  constructor(key: string, keeper: LineKeeper, refusal: Decision) {
    this.key = key
    this.#keeper = keeper
    this.refusal = refusal
  }

  /** The flow of a sender or topic at a rank, made if need be. */
  flowOf(key: unknown, rank: number): Flow {
    return this.#ranks[rank]?.flows.get(key) ?? new Flow(this, key, rank)
  }

  append(entry: Parked): void {
    const { flow } = entry
    flow.append(entry)
    this.count++
    if (flow.count > 1) return
    const { flows, turns } = this.#rankOf(flow)
    flows.set(flow.key, flow)
    turns.add(flow)
  }

  remove(entry: Parked): void {
    const { flow } = entry
    flow.remove(entry)
    this.count--
    if (flow.count === 0) {
      const { flows, turns } = this.#rankOf(flow)
      flow.cancelSleep?.()
      flows.delete(flow.key)
      turns.delete(flow)
    }
    if (this.count === 0) {
      this.stop()
      this.#keeper.emptied(this)
    }
  }

  forget(entry: Parked): void {
    this.#keeper.forget(entry)
  }

  /** The next in turn; undefined where all who wait are refused by other rules. */
  next(): Parked | undefined {
    for (let rank = this.#ranks.length - 1; rank >= 0; rank--) {
      const flow = this.#ranks[rank]?.turns.values().next().value
      if (flow !== undefined) return flow.first
    }
    return undefined
  }

  /** Waits as long as a refusal says, unless it waits already. */
  waitFor(entry: Parked, decision: Decision): void {
    const ownMs = decision.rule === this.#keeper.rule ? this.#keeper.ownWaitMs(entry, decision) : 0
    if (decision.rule === this.#keeper.rule) this.refusal = decision
    if (ownMs > 0) this.#wait(ownMs)
    // Whoever another rule refuses for longer must not keep the others from their turn.
    if (ownMs <= 0 || ownMs < decision.retryAfterMs) this.#sleep(entry.flow, decision.retryAfterMs)
  }

  /** Asks about those in turn until one is refused. */
  pump(): void {
    if (this.#pumping || this.#asking || this.#cancelTimer !== undefined) return
    this.#pumping = true
    let calm = false
    try {
      for (let entry = this.next(); entry; entry = this.next()) {
        entry.asking = true
        const answer = this.#keeper.ask(entry)
        if (isLater(answer)) {
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

  stop(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  #await(entry: Parked, answer: Promise<Decision>): void {
    this.#asking = true
    answer.then(decision => {
      this.#asking = false
      try {
        if (!entry.gone) this.#settle(entry, decision)
      } finally {
        this.pump()
      }
    })
  }

  #settle(entry: Parked, decision: Decision): void {
    entry.asking = false
    if (HOLDING.has(decision.outcome)) {
      entry.refusal = decision
      if (this.#keeper.mayWait(entry, decision)) this.waitFor(entry, decision)
      else this.#keeper.refuse(entry, decision)
      return
    }
    // The next turn is another's.
    const { flow } = entry
    if (flow.count > 1) {
      const { turns } = this.#rankOf(flow)
      turns.delete(flow)
      turns.add(flow)
    }
    this.#keeper.release(entry, decision)
  }

  #wait(ms: number): void {
    this.stop()
    this.#cancelTimer = this.#keeper.after(Math.max(1, ms), () => {
      this.#cancelTimer = undefined
      this.pump()
    })
  }

  #sleep(flow: Flow, ms: number): void {
    this.#rankOf(flow).turns.delete(flow)
    flow.cancelSleep?.()
    flow.cancelSleep = this.#keeper.after(Math.max(1, ms), () => {
      flow.cancelSleep = undefined
      this.#rankOf(flow).turns.add(flow)
      this.pump()
    })
  }

  #rankOf({ rank }: Flow): Rank {
    const known = this.#ranks[rank]
    if (known !== undefined) return known
    const made: Rank = { flows: new Map(), turns: new Set() }
    this.#ranks[rank] = made
    return made
  }
}
