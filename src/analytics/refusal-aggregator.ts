import type { SenderState } from '../chain/senders/sender-state.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Sender } from '../core/message.ts'
import type { RuleCounters } from './rule-counters.ts'
import { nameOf, shorten } from './shorten-name.ts'

/** Rules a sender's refusals on one topic are gathered for side by side. */
const RUNS_PER_SEAT = 4
/** Places for runs, and how many of the oldest make room at once. */
const PLACES = MAX_SIZES.pendingRuns
const BLOCK = MAX_SIZES.runsCountedAtOnce
/**
 * How many runs are pushed out until half as many newcomers are let in. As many as a list has names: then a new run counts
 * for n ÷ 4,096 of n refusals without a run at the most, half of what a full list may be wrong by.
 */
const STEP = MAX_SIZES.insightNames
/** Serials begin anew before they are no small integers any more; 0 is none. */
const LAST_SERIAL = 2 ** 30

/** Cells of a run: its serial, refusals to be counted by name, the id of its rule, the serial of the sender's run before. */
const CELLS = 4
const TIMES = 1
const RULE = 2
const EARLIER = 3

/** Whom a run of refusals is about, and how many there were; by name only, as a sender may be gone when it is counted. */
export interface Refused {
  times: number
  readonly counters: RuleCounters
  readonly topic: string
  readonly client: string
  readonly user: string | undefined
  readonly ip: string | undefined
}

/** Of all runs there are: several analytics may meet on one seat, and none takes another's run for its own. */
let serials = 0

/**
 * Gathers refusals by sender, topic and rule, so that a flood costs one look-up of names a run instead of five a message.
 * There are {@link BOUNDS.pendingRuns}; new ones take the places of the oldest, which are then counted by name: some hundred
 * at once, as one alone finds none of the lists in the caches and takes 5 us. That is still dear, so of a crowd only one in
 * so many refusals without a run begins one, and counts for them all; who has a run is counted one by one (sample and hold:
 * Estan and Varghese, "New directions in traffic measurement and accounting", 2002). The longer a crowd lasts, the fewer begin
 * one, and who is refused often soon has a run again. A seat carries the serial of its newest run, which says where it stands
 * and whether it still does. What a message needs stands in flat arrays: with an object a run, 10,000 refused senders took
 * 60 ns more a message, all of it cache misses.
 */
export class RefusalAggregator {
  readonly #settle: (refused: readonly Refused[]) => void
  readonly #cells = new Int32Array(CELLS * PLACES)
  readonly #refused: Refused[] = []
  #chance = 1
  /** For how many refusals a new run counts, and how many runs were pushed out since that was changed. */
  #weight = 1
  #pushed = 0
  /** Which refusal without a run, from now on, begins one. */
  #next = 1
  /** The block of serials that room was made for. */
  #block = -1

  /** `settle` counts by name. */
  constructor(settle: (refused: readonly Refused[]) => void) {
    this.#settle = settle
  }

  /** One more refusal of a sender on the topic its seat is turned to. */
  gather(senderState: SenderState, counters: RuleCounters): void {
    const cells = this.#cells
    let serial = senderState.run
    // Serials tell by themselves which runs are long pushed out: of 100,000 senders that saves most a cache miss, 30 ns.
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

  /** One more refusal of a sender that keeps nothing: counted by name at once. */
  settle(sender: Sender, topic: string, counters: RuleCounters): void {
    this.#settle([describe(sender, topic, counters, 1)])
  }

  /** Counts all that waits; the runs go on. */
  settleAll(): void {
    for (let first = 0; first < PLACES; first += BLOCK) this.#settleBlock(first)
  }

  /** Counts all that waits, and every refusal one by one again. */
  renew(): void {
    this.settleAll()
    this.#weight = 1
    this.#pushed = 0
    this.#next = 1
  }

  /** From 1 to twice the weight, which is their mean; by chance, as senders may come in turn. */
  #draw(): number {
    // The generator of Numerical Recipes; its upper bits are the good ones.
    this.#chance = (Math.imul(this.#chance, 1_664_525) + 1_013_904_223) >>> 0
    return 1 + Math.floor((this.#chance / 2 ** 32) * (2 * this.#weight - 1))
  }

  /** Gives a run the place of the oldest; returns its serial. */
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
  /** Counts the oldest runs and ends them. */
  #makeRoom(first: number): void {
    this.#pushed += this.#settleBlock(first)
    for (let place = first; place < first + BLOCK; place++) this.#cells[CELLS * place] = 0
    while (this.#pushed >= STEP) {
      this.#pushed -= STEP
      this.#weight *= 2
    }
  }

  /** Counts what waits at some places; returns at how many there was anything. */
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
