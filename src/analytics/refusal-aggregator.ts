import type { SenderState } from '../chain/senders/sender-state.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Sender } from '../core/message.ts'
import type { RuleCounters, Violator } from './rule-counters.ts'
import { analyticsName, shortenName } from './shorten-name.ts'

/** Maximum runs per sender: rules whose refusals on one topic are gathered side by side. */
const RUNS_PER_SENDER = 4
/** Room for runs, and the number of oldest runs removed at once. */
const CAPACITY = MAX_SIZES.pendingRefusalSeries
const BLOCK_SIZE = MAX_SIZES.refusalSeriesPerBatch
/**
 * Number of removed runs after which half as many senders get new runs. It equals the length of a list, so a new run
 * counts for at most n ÷ 4,096 of n refusals without a run: half of a full list's error.
 */
const REMOVALS_PER_STEP = MAX_SIZES.analyticsNames
/** Serials restart before they exceed small integers; 0 means none. */
const MAX_SERIAL = 2 ** 30

/**
 * Cells of a run: its serial, refusals not yet counted by name, the id of its rule, the serial of the sender's
 * previous run.
 */
const CELLS = 4
const TIMES = 1
const RULE = 2
const PREVIOUS = 3

/** Refused sender and its count; by name only, because the sender may be gone when it is counted. */
export interface RefusedSender extends Violator {
  times: number
  /** True if the rule was in shadow for the sender: the messages were not refused. */
  readonly isShadow: boolean
  readonly counters: RuleCounters
  /** Its client, or another part of its identity. */
  readonly client: string
}

/** Sampling of refusals without a run. Refusals in shadow have a sampling of their own, so that neither displaces the other. */
class RunSampling {
  /** Number of refusals that a new run counts for: n. */
  weight = 1
  /** Runs removed since the last change of `weight`. */
  removed = 0
  /** Number of refusals without a run until the next run starts. */
  untilNext = 1
}

/** Shared by all analytics, because several may use one sender state and must not confuse their runs. */
let serials = 0

/**
 * Gathers refusals by sender, topic and rule into runs, so that a flood costs five name look-ups per run instead of
 * per message.
 *
 * There are at most {@link MAX_SIZES.pendingRefusalSeries} runs. New ones replace the oldest, whose refusals are then
 * counted by name, some hundred at once. Why at once: a single count finds none of the lists in the CPU caches and takes
 * 5 µs.
 *
 * If there are more senders than runs, only a sample of the refusals without a run starts one: on average every n-th,
 * which counts for n. A sender with a run is counted exactly (sample and hold: Estan and Varghese, "New directions in
 * traffic measurement and accounting", 2002). n doubles while such a flood lasts. Frequently refused senders soon get a
 * run again.
 *
 * A sender state stores the serial of its newest run, from which the index of the run and its validity follow. Fields
 * used per message are in flat arrays. Why: with an object per run, 10,000 refused senders took 60 ns more per message,
 * all of it cache misses.
 */
export class RefusalAggregator {
  readonly #countRefused: (refused: readonly RefusedSender[]) => void
  readonly #cells = new Int32Array(CELLS * CAPACITY)
  readonly #refused: RefusedSender[] = []
  #random = 1
  #refusalSampling = new RunSampling()
  #shadowSampling = new RunSampling()
  /** Block of serials that was last cleared. */
  #block = -1

  /** `countRefused` counts by name. */
  constructor(countRefused: (refused: readonly RefusedSender[]) => void) {
    this.#countRefused = countRefused
  }

  /** Counts a refusal of a sender on the topic of its state, or what a rule in shadow would have refused. */
  recordRefusal(senderState: SenderState, counters: RuleCounters, isShadow = false): void {
    const cells = this.#cells
    const id = runIdOf(counters, isShadow)
    let serial = senderState.refusalSeries
    // Serials show by themselves which runs are gone. Why: with 100,000 senders that saves most of them a cache
    // miss, 30 ns.
    const oldest = Math.max(1, serials - CAPACITY + 1)
    for (let count = 0; count < RUNS_PER_SENDER && serial >= oldest; count++) {
      const at = CELLS * (serial % CAPACITY)
      if (cells[at] !== serial) break
      if (cells[at + RULE] === id) {
        cells[at + TIMES]!++
        return
      }
      serial = cells[at + PREVIOUS]!
    }
    const sampling = this.#samplingOf(isShadow)
    if (--sampling.untilNext > 0) return
    senderState.refusalSeries = this.#startRun(
      describe(senderState.identity, senderState.topic, counters, 0, isShadow),
      senderState.refusalSeries,
    )
    sampling.untilNext = sampling.weight === 1 ? 1 : this.#drawInterval(sampling.weight)
  }

  /** Counts a refusal by name at once, for a sender without a kept state. */
  countByName(sender: Sender, topic: string, counters: RuleCounters, isShadow = false): void {
    this.#countRefused([describe(sender, topic, counters, 1, isShadow)])
  }

  /** Counts all pending refusals; the runs continue. */
  countAllPending(): void {
    for (let first = 0; first < CAPACITY; first += BLOCK_SIZE) this.#countBlock(first)
  }

  /** Counts all pending refusals, and starts to count every refusal exactly again. */
  resetExactCounts(): void {
    this.countAllPending()
    this.#refusalSampling = new RunSampling()
    this.#shadowSampling = new RunSampling()
  }

  #samplingOf(isShadow: boolean): RunSampling {
    return isShadow ? this.#shadowSampling : this.#refusalSampling
  }

  /**
   * Returns a random number from 1 to twice the weight, whose mean is the weight. Why random: senders may come in a
   * fixed order.
   */
  #drawInterval(weight: number): number {
    // Generator of Numerical Recipes; its upper bits are the good ones.
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0
    return 1 + Math.floor((this.#random / 2 ** 32) * (2 * weight - 1))
  }

  /** Starts a run in place of the oldest; returns its serial. */
  #startRun(refused: RefusedSender, previousSerial: number): number {
    serials = serials === MAX_SERIAL ? 1 : serials + 1
    const index = serials % CAPACITY
    const block = Math.floor(serials / BLOCK_SIZE)
    if (block !== this.#block) {
      this.#block = block
      this.#removeOldest(index - (index % BLOCK_SIZE))
    }
    const { counters, isShadow } = refused
    const { weight } = this.#samplingOf(isShadow)
    this.#cells.set([serials, weight, runIdOf(counters, isShadow), previousSerial], CELLS * index)
    this.#refused[index] = refused
    return serials
  }
  /** Counts and removes the oldest runs. */
  #removeOldest(first: number): void {
    for (const { isShadow } of this.#countBlock(first)) {
      const sampling = this.#samplingOf(isShadow)
      if (++sampling.removed < REMOVALS_PER_STEP) continue
      sampling.removed = 0
      sampling.weight *= 2
    }
    for (let index = first; index < first + BLOCK_SIZE; index++) this.#cells[CELLS * index] = 0
  }

  /** Counts the pending refusals of a block; returns the runs that had any. */
  #countBlock(first: number): readonly RefusedSender[] {
    const waiting: RefusedSender[] = []
    for (let index = first; index < first + BLOCK_SIZE; index++) {
      const at = CELLS * index + TIMES
      const times = this.#cells[at]!
      if (times === 0) continue
      const refused = this.#refused[index]!
      refused.times = times
      waiting.push(refused)
      this.#cells[at] = 0
    }
    if (waiting.length > 0) this.#countRefused(waiting)
    return waiting
  }
}

/** Returns the id of the runs of a rule, which has others in shadow. */
function runIdOf({ id }: RuleCounters, isShadow: boolean): number {
  return isShadow ? ~id : id
}

function describe(
  sender: Sender,
  topic: string,
  counters: RuleCounters,
  times: number,
  isShadow: boolean,
): RefusedSender {
  const { client, user, ip } = sender
  return {
    times,
    isShadow,
    counters,
    topic: shortenName(topic),
    client: shortenName(analyticsName(sender)),
    clientId: shortenText(client),
    user: shortenText(user),
    ip: shortenText(ip),
  }
}

/** Identities of senders in code may be no text. */
function shortenText(value: unknown): string | undefined {
  return typeof value === 'string' ? shortenName(value) : undefined
}
