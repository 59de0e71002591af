import type { Decision, Message } from '../../src/index.ts'
import { createSender, Gate } from '../../src/index.ts'
import type { Sender } from '../../src/message.ts'
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
  const clock = new LateClock(history.startMs)
  const store = await open(clock)
  let gate: Gate | undefined
  const senders = new Map<string, Sender>()
  const ids = new Map<string, string>()
  let depth = 0
  let reading: LateReading | undefined
  let last: ModelDecision | undefined
  try {
    gate = await Gate.fromPolicy(structuredClone(history.policy), { clock, store })
    gate.measures.add({ queueDepth: () => depth })
    const model = new GateModel(history.policy)
    for (const [index, event] of history.events.entries()) {
      const stepMs = stepOf(event.after, last)
      if (stepMs < 0) clock.stepBack(-stepMs)
      else if (stepMs > 0) clock.advance(stepMs)
      const atMs = clock.now()
      reading?.pass(stepMs, () => model.readLoad(Math.min(1, depth / FULL), atMs))
      // The first message starts the measuring.
      if (event.do === 'check' || event.do === 'peek') reading ??= readingOf(history.policy)
      if (event.do === 'check') {
        const got = await gate.check(messageOf(event.message, event.isFresh === true, senders))
        last = model.check(event.message, atMs)
        if (!isSame(last, got)) return { index, atMs, expected: fieldsOf(last), got: fieldsOf(got) }
      } else if (event.do === 'peek') {
        const got = await gate.peek(messageOf(event.message, event.isFresh === true, senders))
        const looked = model.peek(event.message, atMs)
        if (looked.length !== got.length || !looked.every((each, place) => isSame(each, got[place]!)))
          return { index, atMs, expected: looked.map(fieldsOf), got: got.map(fieldsOf) }
      } else if (event.do === 'load') depth = event.depth
      else await happen(event, { gate, model, ids }, atMs)
    }
    return undefined
  } catch (error) {
    return { index: -1, atMs: clock.now(), expected: 'no error', got: String((error as Error).stack) }
  } finally {
    await gate?.close()
    await store.close()
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

interface Running {
  readonly gate: Gate
  readonly model: GateModel
  /** Ids of entries as the gate gave them, by those of the model: API keys are shown hashed. */
  readonly ids: Map<string, string>
}

/** Does to a gate and its model what an operator does. */
async function happen(
  event: Exclude<Change, { do: 'load' }>,
  { gate, model, ids }: Running,
  atMs: number,
): Promise<void> {
  switch (event.do) {
    case 'ban': {
      const { id } = await gate.bans.add(event.words as Parameters<Gate['bans']['add']>[0])
      ids.set(model.addBan(event.words, atMs), id)
      return
    }
    case 'override': {
      const { id } = await gate.overrides.add(event.words as Parameters<Gate['overrides']['add']>[0])
      ids.set(model.addOverride(event.words, atMs), id)
      return
    }
    case 'tier':
      await gate.tiers.add(event.words as Parameters<Gate['tiers']['add']>[0])
      return model.giveTier(event.words, atMs)
    case 'exempt':
      await gate.exemptions.add(event.words as Parameters<Gate['exemptions']['add']>[0])
      return model.addExemption(event.words, atMs)
    case 'remove':
      await gate[event.list].remove(ids.get(event.id) ?? event.id)
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

/** A message as a broker hands it to a gate: one sender object for each connection, or one of its own. */
function messageOf(words: MessageWords, isFresh: boolean, senders: Map<string, Sender>): Message {
  const { payload, sender, ...rest } = words
  const id = JSON.stringify(sender)
  const known = senders.get(id) ?? createSender({ ...sender } as Sender)
  senders.set(id, known)
  return { ...rest, sender: isFresh ? ({ ...sender } as Sender) : known, payload: () => payload } as Message
}
