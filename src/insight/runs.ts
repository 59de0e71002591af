import { BOUNDS } from '../bounds.ts'
import type { Sender } from '../message.ts'
import { nameOf, shorten } from './names.ts'
import type { RuleTally } from './rule-tally.ts'

/** Topics and rules a sender's refusals are gathered for side by side. */
const RUNS_PER_SENDER = 4
/** Serials begin anew before they are no small integers any more; 0 is none. */
const LAST_SERIAL = 2 ** 30

/** Refusals of one sender on one topic by one rule. */
export interface Refusals {
  readonly tally: RuleTally
  readonly topic: string
  readonly client: string
  readonly user: string | undefined
  readonly ip: string | undefined
  readonly times: number
}

/** Refusals that are gathered: `times` is what is still to be counted by name. */
interface Run extends Refusals {
  times: number
  serial: number
  /** The serial of the sender's run before it. */
  earlier: number
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
 * newest run, which says where it stands and whether it still does.
 */
export class Runs {
  readonly #place = Symbol('topicgate.runs')
  readonly #settle: (refusals: Refusals) => void
  readonly #runs: Run[] = []
  #serial = 0

  constructor(settle: (refusals: Refusals) => void) {
    this.#settle = settle
  }

  /** One more refusal; `isLasting` says that the sender will come again as the same object. */
  note(sender: Sender, isLasting: boolean, topic: string, tally: RuleTally): void {
    if (!isLasting || topic.length > BOUNDS.insightNameChars) {
      this.#settle(beginRun(sender, shorten(topic), tally))
      return
    }
    const newest = (sender as Marked)[this.#place] ?? 0
    let serial = newest
    for (let count = 0; count < RUNS_PER_SENDER; count++) {
      const run = this.#runs[serial % BOUNDS.pendingRuns]
      if (run === undefined || run.serial !== serial) break
      if (run.tally === tally && run.topic === topic) {
        run.times++
        return
      }
      serial = run.earlier
    }
    const run = beginRun(sender, topic, tally)
    run.earlier = newest
    mark(sender, this.#place, this.#keep(run))
  }

  /** Counts all that waits; the runs go on. */
  settleAll(): void {
    for (const run of this.#runs) this.#end(run)
  }

  /** Gives a run a serial, and the place of the oldest. */
  #keep(run: Run): number {
    this.#serial = this.#serial === LAST_SERIAL ? 1 : this.#serial + 1
    run.serial = this.#serial
    const place = run.serial % BOUNDS.pendingRuns
    this.#end(this.#runs[place])
    this.#runs[place] = run
    return run.serial
  }

  #end(run: Run | undefined): void {
    if (run === undefined || run.times === 0) return
    this.#settle(run)
    run.times = 0
  }
}

function beginRun(sender: Sender, topic: string, tally: RuleTally): Run {
  const { user, ip } = sender
  return {
    tally,
    topic,
    client: shorten(nameOf(sender)),
    user: typeof user === 'string' ? shorten(user) : undefined,
    ip: typeof ip === 'string' ? shorten(ip) : undefined,
    times: 1,
    serial: 0,
    earlier: 0,
  }
}
