import { BOUNDS } from '../bounds.ts'
import type { Seat } from '../chain/seat.ts'
import type { Sender } from '../message.ts'
import { nameOf, shorten } from './names.ts'
import type { RuleTally } from './rule-tally.ts'

/** Rules a sender's refusals on one topic are gathered for side by side. */
const RUNS_PER_SEAT = 4
/** The most refusals a new run is to count for. */
const HEAVIEST = 256
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

/** Of all runs there are: several analytics may meet on one seat, and none takes another's run for its own. */
let serials = 0

/**
 * Gathers refusals by sender, topic and rule, so that a flood costs one look-up of names a run instead of five a message.
 * There are {@link BOUNDS.pendingRuns}: a new one takes the place of the oldest. Each time as many have been pushed out as
 * there are, only half as many are let in, by chance, and count for twice as many refusals: a crowd without end costs no
 * more and more, and who is refused often soon has a run and is counted one by one again. A seat carries the serial of its
 * newest run, which says where it stands and whether it still does. What a message needs stands in flat arrays: with an
 * object a run, 10,000 refused senders took 60 ns more a message, all of it cache misses.
 */
export class Runs {
  readonly #settle: (refused: Refused, times: number) => void
  readonly #cells = new Int32Array(CELLS * BOUNDS.pendingRuns)
  readonly #refused: Refused[] = []
  #chance = 1
  /** For how many refusals a new run counts, and how many runs were pushed out since that was changed. */
  #weight = 1
  #pushed = 0

  constructor(settle: (refused: Refused, times: number) => void) {
    this.#settle = settle
  }

  /** One more refusal of a sender on the topic its seat is turned to. */
  gather(seat: Seat, tally: RuleTally): void {
    const cells = this.#cells
    let serial = seat.run
    for (let count = 0; count < RUNS_PER_SEAT && serial !== 0; count++) {
      const at = CELLS * (serial % BOUNDS.pendingRuns)
      if (cells[at] !== serial) break
      if (cells[at + RULE] === tally.id) {
        cells[at + TIMES]!++
        return
      }
      serial = cells[at + EARLIER]!
    }
    const times = this.#admit()
    if (times > 0) seat.run = this.#begin(describe(seat.identity, seat.topic, tally), times, seat.run)
  }

  /** One more refusal of a sender that keeps nothing: counted by name at once. */
  settle(sender: Sender, topic: string, tally: RuleTally): void {
    this.#settle(describe(sender, topic, tally), 1)
  }

  /** Counts all that waits; the runs go on. */
  settleAll(): void {
    for (let place = 0; place < BOUNDS.pendingRuns; place++) this.#end(place)
  }

  /** Counts all that waits, and every refusal one by one again. */
  renew(): void {
    this.settleAll()
    this.#weight = 1
    this.#pushed = 0
  }

  /** For how many refusals a new run is to count: 0 where it gets no place. */
  #admit(): number {
    const next = (serials + 1) % BOUNDS.pendingRuns
    if (this.#cells[CELLS * next + TIMES] === 0) return 1
    // The generator of Numerical Recipes; its upper bits are the good ones.
    this.#chance = (Math.imul(this.#chance, 1_664_525) + 1_013_904_223) >>> 0
    if (this.#chance >= 2 ** 32 / this.#weight) return 0
    const weight = this.#weight
    this.#pushed++
    if (this.#pushed === BOUNDS.pendingRuns) {
      this.#pushed = 0
      this.#weight = Math.min(2 * weight, HEAVIEST)
    }
    return weight
  }

  /** Gives a run the place of the oldest; returns its serial. */
  #begin(refused: Refused, times: number, earlier: number): number {
    serials = serials === LAST_SERIAL ? 1 : serials + 1
    const place = serials % BOUNDS.pendingRuns
    this.#end(place)
    this.#cells.set([serials, times, refused.tally.id, earlier], CELLS * place)
    this.#refused[place] = refused
    return serials
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
    topic: shorten(topic),
    client: shorten(nameOf(sender)),
    user: typeof user === 'string' ? shorten(user) : undefined,
    ip: typeof ip === 'string' ? shorten(ip) : undefined,
  }
}
