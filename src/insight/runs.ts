import { BOUNDS } from '../bounds.ts'
import type { Sender } from '../message.ts'
import { nameOf, shorten } from './names.ts'
import type { RuleTally } from './rule-tally.ts'

/** Topics and rules a sender's refusals are gathered for side by side. */
const RUNS_PER_SENDER = 4
/** Serials begin anew before they are no small integers any more; 0 is none. */
const LAST_SERIAL = 2 ** 30

/** Cells of a run: its serial, refusals to be counted by name, the id of its rule, the serial of the sender's run before. */
const CELLS = 4
const TIMES = 1
const RULE = 2
const EARLIER = 3

/** Whom a run of refusals is about; by name only, as a sender may be gone when it is counted. */
export interface Refused {
  readonly tally: RuleTally
  readonly topic: string
  readonly client: string
  readonly user: string | undefined
  readonly ip: string | undefined
}

/** What insight keeps on a sender, by symbol. */
export type Marked = Record<symbol, number | undefined>

/** Puts a mark on a sender. Not enumerable: a copy of the sender (`{ ...sender }`) is another sender. */
export function mark(sender: object, place: symbol, value: number): void {
  if ((sender as Marked)[place] === undefined) Object.defineProperty(sender, place, { value, writable: true })
  else (sender as Marked)[place] = value
}

/**
 * Gathers refusals by sender, topic and rule, so that a flood costs one look-up of names a run instead of six a message.
 * There are {@link BOUNDS.pendingRuns}: a new one takes the place of the oldest. A sender carries the serial of its
 * newest run, which says where it stands and whether it still does. What a message needs stands in flat arrays: with
 * an object a run, 10,000 refused senders took 60 ns more a message, all of it cache misses.
 */
export class Runs {
  /** Where a sender carries the serial of its newest run. */
  readonly #place = Symbol('topicgate.runs')
  readonly #settle: (refused: Refused, times: number) => void
  readonly #cells = new Int32Array(CELLS * BOUNDS.pendingRuns)
  readonly #topics: string[] = []
  readonly #refused: Refused[] = []
  #serial = 0

  constructor(settle: (refused: Refused, times: number) => void) {
    this.#settle = settle
  }

  /** One more refusal; `isLasting` says that the sender will come again as the same object. */
  note(sender: Sender, isLasting: boolean, topic: string, tally: RuleTally): void {
    if (!isLasting || topic.length > BOUNDS.insightNameChars) {
      this.#settle(describe(sender, shorten(topic), tally), 1)
      return
    }
    const cells = this.#cells
    const newest = (sender as Marked)[this.#place] ?? 0
    let serial = newest
    for (let count = 0; count < RUNS_PER_SENDER && serial !== 0; count++) {
      const place = serial % BOUNDS.pendingRuns
      const at = CELLS * place
      if (cells[at] !== serial) break
      if (cells[at + RULE] === tally.id && this.#topics[place] === topic) {
        cells[at + TIMES]!++
        return
      }
      serial = cells[at + EARLIER]!
    }
    mark(sender, this.#place, this.#begin(describe(sender, topic, tally), newest))
  }

  /** Counts all that waits; the runs go on. */
  settleAll(): void {
    for (let place = 0; place < BOUNDS.pendingRuns; place++) this.#end(place)
  }

  /** Gives a run the place of the oldest; returns its serial. */
  #begin(refused: Refused, earlier: number): number {
    this.#serial = this.#serial === LAST_SERIAL ? 1 : this.#serial + 1
    const place = this.#serial % BOUNDS.pendingRuns
    this.#end(place)
    this.#cells.set([this.#serial, 1, refused.tally.id, earlier], CELLS * place)
    this.#topics[place] = refused.topic
    this.#refused[place] = refused
    return this.#serial
  }

  #end(place: number): void {
    const at = CELLS * place + TIMES
    const times = this.#cells[at]!
    if (times === 0) return
    this.#settle(this.#refused[place]!, times)
    this.#cells[at] = 0
  }
}

function describe(sender: Sender, topic: string, tally: RuleTally): Refused {
  const { user, ip } = sender
  return {
    tally,
    topic,
    client: shorten(nameOf(sender)),
    user: typeof user === 'string' ? shorten(user) : undefined,
    ip: typeof ip === 'string' ? shorten(ip) : undefined,
  }
}
