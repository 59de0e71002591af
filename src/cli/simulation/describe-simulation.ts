import { type Comparison, isSatisfied } from '../documents/comparison.ts'
import type { ReplayTotals } from '../replay/replay-totals.ts'
import { formatCount, formatNumberOf, formatShare, formatTable, formatWait } from '../terminal/format.ts'
import type { FleetDocument } from './fleet-format.ts'
import type { GroupCount, GroupCounts } from './group-counts.ts'
import { DEFAULT_FOR_MS, DEFAULT_SEED } from './simulated-fleet.ts'

/** Result of a simulation. */
export interface SimulationResult {
  readonly document: FleetDocument
  readonly groups: GroupCounts
  /** Where the messages went: nowhere, to a policy or to a broker. */
  readonly target: 'none' | 'policy' | 'broker'
  /** Totals of the policy, if there is one. */
  readonly rules: ReplayTotals | undefined
}

/** A group whose share of delivered messages is not as expected. */
export interface UnmetExpectation {
  readonly group: string
  readonly expected: Comparison
  readonly delivered: number
  readonly messages: number
}

/** Returns the expectations that are not met. Without a policy or broker there are none. */
export function findUnmetExpectations({
  document,
  groups,
  target,
}: SimulationResult): readonly UnmetExpectation[] {
  if (target === 'none') return []
  return document.fleet.flatMap(group => {
    const { delivered, messages } = groups.of(group)
    const expected = group.expect?.delivered
    if (expected === undefined || messages === 0 || isSatisfied(expected, delivered / messages)) return []
    return [{ group: group.name, expected, delivered, messages }]
  })
}

/** Formats the result as tables. */
export function describeSimulation(result: SimulationResult): readonly string[] {
  const { document, groups, rules, target } = result
  const { seed = DEFAULT_SEED, for: forMs = DEFAULT_FOR_MS } = document
  const counts = groups.list()
  const messages = groups.sum('messages')
  const passed = target === 'broker' ? ['delivered', 'missing'] : ['allowed', 'refused']
  const isDisordered = groups.sum('disordered') > 0
  const head = [
    'group',
    'devices',
    'connects',
    'messages',
    ...(target === 'none' ? [] : [...passed, 'share']),
    ...(isDisordered ? ['disordered'] : []),
  ]
  const rows = counts.map(count => [
    count.name,
    ...[count.devices, count.connects, count.messages].map(formatCount),
    ...(target === 'none' ? [] : describeDelivered(count)),
    ...(isDisordered ? [formatCount(count.disordered)] : []),
  ])
  return [
    `${formatNumberOf(messages, 'message')} in ${formatWait(forMs)}, seed ${seed}`,
    '',
    ...formatTable(head, rows),
    ...(rules === undefined ? [] : ['', ...rules.describe()]),
  ]
}

function describeDelivered({ messages, delivered }: GroupCount): readonly string[] {
  const lost = messages - delivered
  return [formatCount(delivered), lost === 0 ? '-' : formatCount(lost), formatShare(lost, messages)]
}

export function describeUnmet({ group, expected, delivered, messages }: UnmetExpectation): string {
  const seen = `${formatCount(delivered)} of ${formatCount(messages)} (${((100 * delivered) / messages).toFixed(2)} %)`
  return `failed: group ${group}: expected ${expected.text} delivered, seen ${seen}`
}

/** Returns the result as an object for JSON. */
export function simulationJson(result: SimulationResult): object {
  const { document, groups, target } = result
  const { seed = DEFAULT_SEED, for: forMs = DEFAULT_FOR_MS } = document
  return {
    seed,
    forMs,
    groups: groups.list().map(({ delivered, disordered, ...count }) => ({
      ...count,
      ...(target === 'none' ? {} : { delivered }),
      ...(target === 'broker' ? { disordered } : {}),
    })),
    failed: findUnmetExpectations(result).map(({ group, expected }) => ({ group, expected: expected.text })),
  }
}
