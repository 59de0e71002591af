import { stringify } from 'yaml'
import { type Disagreement, describe, type Event, type History } from './history.ts'
import type { Policy } from './policy.ts'

/** Runs that a counter-example may take to become small. */
const MOST_RUNS = 600

export type Try = (history: History) => Promise<Disagreement | undefined>

/** The smallest history found that still shows a disagreement, and what that is. */
export async function shrink(
  history: History,
  found: Disagreement,
  attempt: Try,
): Promise<{ readonly history: History; readonly found: Disagreement }> {
  let best = { history, found }
  let runs = 0
  const improve = async (smaller: History): Promise<boolean> => {
    if (++runs > MOST_RUNS) return false
    const still = await attempt(smaller)
    // A history that is no longer one of the product, as with a word that needs another, shows nothing.
    if (still === undefined || (still.index < 0 && best.found.index >= 0)) return false
    const events = still.index < 0 ? smaller.events : smaller.events.slice(0, still.index + 1)
    best = { history: { ...smaller, events }, found: still }
    return true
  }
  await improve(history)
  for (let isBetter = true; isBetter && runs < MOST_RUNS; ) {
    isBetter = false
    for (let index = 0; ; index++) {
      const smaller = [...smallerOnes(best.history)][index]
      if (smaller === undefined) break
      if (await improve(smaller)) {
        isBetter = true
        index--
      }
    }
  }
  return best
}

/** Every history with one thing less. */
function* smallerOnes(history: History): Generator<History> {
  const { events, policy } = history
  for (let size = Math.ceil(events.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = events.length - 1 - size; at >= 0; at -= size) {
      yield { ...history, events: events.toSpliced(at, size) }
    }
  }
  for (const remove of removals(policy)) {
    const applied = events.map(
      (event): Event =>
        event.do === 'apply' ? { ...event, policy: attemptOn(event.policy, remove) } : event,
    )
    yield { ...history, policy: attemptOn(policy, remove), events: applied }
  }
  for (const [index, event] of events.entries()) {
    if (event.after !== 0) yield { ...history, events: events.with(index, { ...event, after: 0 }) }
    if (event.do !== 'check' && event.do !== 'peek') continue
    for (const word of ['payload', 'headers', 'retain', 'will', 'qos', 'protocol'] as const) {
      if (event.message[word] === undefined) continue
      const { [word]: _, ...message } = event.message
      yield { ...history, events: events.with(index, { ...event, message }) }
    }
  }
}

type Removal = (policy: Policy) => void

function attemptOn(policy: Policy, remove: Removal): Policy {
  const copy = structuredClone(policy)
  remove(copy)
  return copy
}

/** Everything that can be left out of a policy. */
function* removals(policy: Policy): Generator<Removal> {
  for (const word of ['senders', 'tiers', 'exempt', 'adaptive', 'behaviour', 'penalties'] as const) {
    if (policy[word] !== undefined) yield each => void delete each[word]
  }
  for (const { name } of policy.rules) {
    yield each => {
      each.rules = each.rules.filter(rule => rule.name !== name)
    }
  }
  for (const { name } of policy.exempt ?? []) {
    yield each => {
      each.exempt = each.exempt?.filter(exemption => exemption.name !== name) ?? []
    }
  }
  for (const name of Object.keys(policy.tiers ?? {})) yield each => void delete each.tiers?.[name]
  for (const [list, needed] of [
    ['rules', ['name', 'limit', 'quota', 'maxSize']],
    ['exempt', ['name']],
  ] as const) {
    for (const [index, entry] of (policy[list] ?? []).entries()) {
      for (const word of Object.keys(entry)) {
        if ((needed as readonly string[]).includes(word)) continue
        yield each => void delete (each[list]?.[index] as Record<string, unknown> | undefined)?.[word]
      }
    }
  }
}

/** A counter-example as a policy and a few messages. */
export function print(history: History, found: Disagreement, store: string): string {
  const lines = history.events.map(event => {
    const { after, ...rest } = event
    const word = typeof after === 'number' ? `${after >= 0 ? '+' : ''}${after} ms` : `+ ${after}`
    return `${word.padEnd(14)} ${describe(rest)}`
  })
  return [
    `the ${store} store and the model disagree (start ${history.startMs}):`,
    stringify(history.policy).trimEnd(),
    ...lines,
    `at ${found.atMs}, event ${found.index + 1}:`,
    `  model ${describe(found.expected)}`,
    `  gate  ${describe(found.got)}`,
  ].join('\n')
}
