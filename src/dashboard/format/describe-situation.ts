import type { Senders, Status, Summary } from '../api/types.ts'
import { formatShare } from './format.ts'

const RANGES: Readonly<Record<Summary['range'], string>> = {
  '1h': 'the last hour',
  '24h': 'the last 24 hours',
  '7d': 'the last 7 days',
}

/** One answer to "is it us or them, who, which rule". */
export interface Situation {
  readonly tone: 'ok' | 'warning' | 'critical'
  readonly text: string
  /** Sender that the text is about. */
  readonly sender?: string | undefined
}

/** Returns what an operator should know first. */
export function describeSituation(status: Status, summary: Summary, senders: Senders): Situation {
  const { store, load } = status
  if (!store.ok) {
    const effect = store.fallback === undefined ? '' : ` Until it does, ${store.fallback} decides.`
    return { tone: 'critical', text: `The store ${store.name} does not answer.${effect}` }
  }
  const range = RANGES[summary.range]
  const cause = load === null ? '' : ` Limits are scaled by ${load.factor}: ${load.reason}.`
  const { blocked, topBlocked } = summary
  const [first] = senders.senders
  if (blocked === 0 || first === undefined)
    return { tone: 'ok', text: `Nothing was refused in ${range}.${cause}` }
  const [rule] = topBlocked.rules.list
  const by = rule === undefined ? '' : ` The rule ${rule.name} refuses most.`
  if (first.count * 2 > blocked) {
    const share = formatShare(Math.min(first.count, blocked), blocked)
    const text = `caused ${share} of the refusals of ${range}.${by}${cause}`
    return { tone: 'warning', text, sender: first.id }
  }
  const share = formatShare(blocked, summary.total)
  return { tone: 'warning', text: `Refused in ${range}: ${share}, of many senders.${by}${cause}` }
}
