import type { Sender } from '../../src/core/message.ts'
import type { Decision, Message } from '../../src/index.ts'
import { createSender, Gate, PolicyError } from '../../src/index.ts'
import type { Store } from '../../src/stores/store.ts'
import { GateModel, type ModelDecision } from './gate-model.ts'
import { LateClock } from './late-clock.ts'
import type {
  BanWords,
  GivenTierWords,
  MessageWords,
  OverrideWords,
  Policy,
  RunTimeExemptionWords,
} from './policy.ts'
import { readDurationMs } from './units.ts'

/** How much later something happens: milliseconds, negative if the clock steps back, or as the last decision said. */
export type After = number | 'retry' | 'before retry' | 'reset' | 'before reset'

/** What happens to a gate, and when. */
export type Event = { readonly after: After } & (
  | ({ readonly do: 'check' } & Asked)
  | ({ readonly do: 'peek' } & Asked)
  | Change
)

interface Asked {
  readonly message: MessageWords
  /** The sender is an object of the message's own. */
  readonly isFresh?: boolean
}

type Change =
  | { readonly do: 'ban'; readonly words: BanWords }
  | { readonly do: 'override'; readonly words: OverrideWords }
  | { readonly do: 'tier'; readonly words: GivenTierWords }
  | { readonly do: 'exempt'; readonly words: RunTimeExemptionWords }
  | { readonly do: 'remove'; readonly list: 'bans' | 'overrides' | 'exemptions'; readonly id: string }
  | { readonly do: 'apply'; readonly policy: Policy }
  | { readonly do: 'reset'; readonly rule?: string }
  | { readonly do: 'load'; readonly depth: number }

/** A policy and what happens under it. */
export interface History {
  readonly policy: Policy
  readonly startMs: number
  readonly events: readonly Event[]
}

/** The first event at which a gate did not do what the model says. */
export interface Disagreement {
  readonly index: number
  readonly atMs: number
  readonly expected: unknown
  readonly got: unknown
}

export type OpenStore = (clock: LateClock) => Store | Promise<Store>

const FIELDS = [
  ...['allowed', 'outcome', 'reason', 'rule', 'limit', 'remaining', 'retryAfterMs', 'resetMs'],
  ...['shadow', 'exemption', 'scaled'],
] as const

/** The fields of a decision that the model knows, absent ones left out. */
function fieldsOf(decision: Decision | ModelDecision): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  for (const name of FIELDS) if (decision[name] !== undefined) fields[name] = decision[name]
  return fields
}

function isSame(a: Decision | ModelDecision, b: Decision | ModelDecision): boolean {
  return FIELDS.every(name => {
    const [one, other] = [a[name], b[name]]
    return one === other || (typeof one === 'object' && describe(one) === describe(other))
  })
}

/** JSON with its keys in order, and Infinity as a word. */
export function describe(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) => {
    if (each === Number.POSITIVE_INFINITY) return 'never'
    if (typeof each !== 'object' || each === null || Array.isArray(each)) return each
    return Object.fromEntries(Object.entries(each).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  })
}

/** Runs a history on a gate and on the model; undefined if they agree on every decision. */
export async function compare(history: History, open: OpenStore): Promise<Disagreement | undefined> {
  const run = new Run(history)
  try {
    await run.begin(open)
    for (const [index, event] of history.events.entries()) {
      const found = await run.play(event)
      if (found !== undefined) return { index, atMs: run.clock.now(), ...found }
    }
    return undefined
  } catch (error) {
    const got = String((error as Error).stack)
    return { index: -1, atMs: run.clock.now(), expected: 'no error', got }
  } finally {
    await run.end()
  }
}

/** A gate and its model, to which the same happens. */
export class Run {
  readonly clock: LateClock
  readonly model: GateModel
  gate!: Gate
  /** What the model decided last. */
  last: ModelDecision | undefined
  readonly #policy: Policy
  readonly #senders = new Map<string, Sender>()
  /** Ids of entries as the gate gave them, by those of the model: API keys are shown hashed. */
  readonly #ids = new Map<string, string>()
  #store: Store | undefined
  #depth = 0
  #reading: LateReading | undefined

  constructor({ policy, startMs }: History) {
    this.clock = new LateClock(startMs)
    this.model = new GateModel(policy)
    this.model.tick(startMs)
    this.#policy = policy
  }

  async begin(open: OpenStore): Promise<void> {
    const { clock } = this
    this.#store = await open(clock)
    this.gate = await Gate.fromPolicy(structuredClone(this.#policy), { clock, store: this.#store })
    this.gate.loadSources.add({ queueDepth: () => this.#depth })
  }

  async end(): Promise<void> {
    await (this.gate as Gate | undefined)?.close()
    await this.#store?.close()
  }

  /** Lets something happen; what differs, if something does. */
  async play(event: Event): Promise<{ readonly expected: unknown; readonly got: unknown } | undefined> {
    const { clock, model } = this
    const stepMs = stepOf(event.after, this.last)
    if (stepMs < 0) clock.stepBack(-stepMs)
    else if (stepMs > 0) clock.advance(stepMs)
    const atMs = clock.now()
    // Whatever happens, the gate has seen the time of it.
    this.gate.clock.now()
    model.tick(atMs)
    this.#reading?.pass(stepMs, () => model.readLoad(Math.min(1, this.#depth / FULL), atMs))
    // The first message starts the measuring.
    if (event.do === 'check' || event.do === 'peek') this.#reading ??= readingOf(this.#policy)
    if (event.do === 'check') {
      const got = await this.gate.check(this.messageOf(event))
      this.last = model.check(event.message, atMs)
      return isSame(this.last, got) ? undefined : { expected: fieldsOf(this.last), got: fieldsOf(got) }
    }
    if (event.do === 'peek') {
      const got = await this.gate.peek(this.messageOf(event))
      const expected = model.peek(event.message, atMs)
      const isAlike = expected.length === got.length && expected.every((each, at) => isSame(each, got[at]!))
      return isAlike ? undefined : { expected: expected.map(fieldsOf), got: got.map(fieldsOf) }
    }
    if (event.do === 'load') this.#depth = event.depth
    else await this.#change(event, atMs)
    return undefined
  }

  /** A message as a broker hands it to a gate: one sender object for each connection, or one of its own. */
  messageOf({ message, isFresh }: Asked): Message {
    const { payload, sender, ...rest } = message
    const id = JSON.stringify(sender)
    const known = this.#senders.get(id) ?? createSender({ ...sender } as Sender)
    this.#senders.set(id, known)
    return { ...rest, sender: isFresh ? ({ ...sender } as Sender) : known, payload: () => payload } as Message
  }

  /** Does to the gate and the model what an operator does. */
  async #change(event: Exclude<Change, { do: 'load' }>, atMs: number): Promise<void> {
    const { gate, model } = this
    switch (event.do) {
      case 'ban': {
        const { id } = await gate.bans.add(event.words as Parameters<Gate['bans']['add']>[0])
        this.#ids.set(model.addBan(event.words, atMs), id)
        return
      }
      case 'override': {
        // One that a rule cannot hold is refused, and leaves everything as it was.
        const added = await gate.overrides
          .add(event.words as Parameters<Gate['overrides']['add']>[0])
          .catch(error => (error instanceof PolicyError ? undefined : Promise.reject(error)))
        if (added !== undefined) this.#ids.set(model.addOverride(event.words, atMs), added.id)
        return
      }
      case 'tier':
        await gate.tiers.add(event.words as Parameters<Gate['tiers']['add']>[0])
        return model.giveTier(event.words, atMs)
      case 'exempt':
        await gate.exemptions.add(event.words as Parameters<Gate['exemptions']['add']>[0])
        return model.addExemption(event.words, atMs)
      case 'remove':
        await gate[event.list].remove(this.#ids.get(event.id) ?? event.id)
        if (event.list === 'bans') return model.removeBan(event.id)
        return event.list === 'overrides' ? model.removeOverride(event.id) : model.removeExemption(event.id)
      case 'apply':
        await gate.apply(structuredClone(event.policy))
        return model.apply(event.policy, atMs)
      case 'reset':
        await gate.reset(event.rule === undefined ? {} : { rule: event.rule })
        return model.reset(event.rule)
      default:
        return event satisfies never
    }
  }
}

/** Waiting messages that are a load of 100 %. */
export const FULL = 100

/** The readings of the load: one every interval, and one at the end of a jump over several. */
class LateReading {
  readonly #everyMs: number
  #leftMs: number

  constructor(everyMs: number) {
    this.#everyMs = everyMs
    this.#leftMs = everyMs
  }

  pass(ms: number, read: () => void): void {
    // Timers move along with a clock that is set back.
    if (ms > 0) this.#leftMs -= ms
    if (this.#leftMs > 0) return
    read()
    this.#leftMs = this.#everyMs
  }
}

function readingOf({ adaptive }: Policy): LateReading | undefined {
  return adaptive && new LateReading(readDurationMs(adaptive.every))
}

function stepOf(after: After, last: ModelDecision | undefined): number {
  if (typeof after === 'number') return after
  const waitMs = (after.endsWith('retry') ? last?.retryAfterMs : last?.resetMs) ?? 0
  if (!Number.isFinite(waitMs)) return 0
  return after.startsWith('before') ? Math.max(0, waitMs - 1) : waitMs
}
