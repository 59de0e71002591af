import type { SenderState } from '../chain/senders/sender-state.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Sender } from '../core/message.ts'
import type { RuleCounters } from './rule-counters.ts'
import { nameOf, shorten } from './shorten-name.ts'

/** Maximum runs per sender: rules whose refusals on one topic are gathered side by side. */
const RUNS_PER_SEAT = 4
/** Room for runs, and the number of oldest runs removed at once. */
const PLACES = MAX_SIZES.pendingRuns
const BLOCK = MAX_SIZES.runsCountedAtOnce
/**
 * Number of removed runs after which half as many senders get new runs. It equals the length of a list, so a new run
 * counts for at most n ÷ 4,096 of n refusals without a run: half of a full list's error.
 */
const STEP = MAX_SIZES.insightNames
/** Serials restart before they exceed small integers; 0 means none. */
const LAST_SERIAL = 2 ** 30

/**
 * Cells of a run: its serial, refusals not yet counted by name, the id of its rule, the serial of the sender's
 * previous run.
 */
const CELLS = 4
const TIMES = 1
const RULE = 2
const EARLIER = 3

/** Refused sender and its count; by name only, because the sender may be gone when it is counted. */
export interface Refused {
  times: number
  readonly counters: RuleCounters
  readonly topic: string
  readonly client: string
  readonly user: string | undefined
  readonly ip: string | undefined
}

/** Shared by all analytics, because several may use one sender state and must not confuse their runs. */
let serials = 0

/**
 * Gathers refusals by sender, topic and rule into runs, so that a flood costs five name look-ups per run instead of
 * per message. There are at most {@link MAX_SIZES.pendingRuns} runs; new ones replace the oldest, whose refusals are
 * then counted by name, some hundred at once. Why at once: a single one finds none of the lists in the CPU caches and
 * takes 5 µs. With many senders only one in so many refusals without a run starts one, and counts for them all; a
 * sender with a run is counted exactly (sample and hold: Estan and Varghese, "New directions in traffic measurement
 * and accounting", 2002). The longer a flood by many senders lasts, the fewer runs start, and frequently refused
 * senders soon get a run again. A sender state stores the serial of its newest run, from which its index and validity
 * follow. Fields used per message are in flat arrays. Why: with an object per run, 10,000 refused senders took 60 ns
 * more per message, all of it cache misses.
 */
export class RefusalAggregator {
  readonly #settle: (refused: readonly Refused[]) => void
  readonly #cells = new Int32Array(CELLS * PLACES)
  readonly #refused: Refused[] = []
  #chance = 1
  /** Refusals that a new run counts for, and the runs removed since the last change. */
  #weight = 1
  #pushed = 0
  /** Number of refusals without a run until the next run starts. */
  #next = 1
  /** Block of serials that was last cleared. */
  #block = -1

  /** `settle` counts by name. */
  constructor(settle: (refused: readonly Refused[]) => void) {
    this.#settle = settle
  }

  /** Counts a refusal of a sender on the topic of its state. */
  gather(senderState: SenderState, counters: RuleCounters): void {
    const cells = this.#cells
    let serial = senderState.run
    // Serials show by themselves which runs are gone. Why: with 100,000 senders that saves most of them a cache
    // miss, 30 ns.
    const oldest = Math.max(1, serials - PLACES + 1)
    for (let count = 0; count < RUNS_PER_SEAT && serial >= oldest; count++) {
      const at = CELLS * (serial % PLACES)
      if (cells[at] !== serial) break
      if (cells[at + RULE] === counters.id) {
        cells[at + TIMES]!++
        return
      }
      serial = cells[at + EARLIER]!
    }
    if (--this.#next > 0) return
    senderState.run = this.#begin(
      describe(senderState.identity, senderState.topic, counters, 0),
      senderState.run,
    )
    this.#next = this.#weight === 1 ? 1 : this.#draw()
  }

  /** Counts a refusal by name at once, for a sender without a kept state. */
  settle(sender: Sender, topic: string, counters: RuleCounters): void {
    this.#settle([describe(sender, topic, counters, 1)])
  }

  /** Counts all pending refusals; the runs continue. */
  settleAll(): void {
    for (let first = 0; first < PLACES; first += BLOCK) this.#settleBlock(first)
  }

  /** Counts all pending refusals, and starts to count every refusal exactly again. */
  renew(): void {
    this.settleAll()
    this.#weight = 1
    this.#pushed = 0
    this.#next = 1
  }

  /**
   * Returns a random number from 1 to twice the weight, whose mean is the weight. Why random: senders may come in a
   * fixed order.
   */
  #draw(): number {
    // Generator of Numerical Recipes; its upper bits are the good ones.
    this.#chance = (Math.imul(this.#chance, 1_664_525) + 1_013_904_223) >>> 0
    return 1 + Math.floor((this.#chance / 2 ** 32) * (2 * this.#weight - 1))
  }

  /** Starts a run in place of the oldest; returns its serial. */
  #begin(refused: Refused, earlier: number): number {
    serials = serials === LAST_SERIAL ? 1 : serials + 1
    const place = serials % PLACES
    const block = Math.floor(serials / BLOCK)
    if (block !== this.#block) {
      this.#block = block
      this.#makeRoom(place - (place % BLOCK))
    }
    this.#cells.set([serials, this.#weight, refused.counters.id, earlier], CELLS * place)
    this.#refused[place] = refused
    return serials
  }
  /** Counts and removes the oldest runs. */
  #makeRoom(first: number): void {
    this.#pushed += this.#settleBlock(first)
    for (let place = first; place < first + BLOCK; place++) this.#cells[CELLS * place] = 0
    while (this.#pushed >= STEP) {
      this.#pushed -= STEP
      this.#weight *= 2
    }
  }

  /** Counts the pending refusals of a block; returns how many runs had any. */
  #settleBlock(first: number): number {
    const waiting: Refused[] = []
    for (let place = first; place < first + BLOCK; place++) {
      const at = CELLS * place + TIMES
      const times = this.#cells[at]!
      if (times === 0) continue
      const refused = this.#refused[place]!
      refused.times = times
      waiting.push(refused)
      this.#cells[at] = 0
    }
    if (waiting.length > 0) this.#settle(waiting)
    return waiting.length
  }
}

function describe(sender: Sender, topic: string, counters: RuleCounters, times: number): Refused {
  const { user, ip } = sender
  return {
    times,
    counters,
    topic: shorten(topic),
    client: shorten(nameOf(sender)),
    user: typeof user === 'string' ? shorten(user) : undefined,
    ip: typeof ip === 'string' ? shorten(ip) : undefined,
  }
}
