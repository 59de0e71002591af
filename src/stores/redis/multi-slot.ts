import type { Verdict } from '../../algorithms/limit-types.ts'
import { slotOf } from './cluster-slot.ts'
import { type KeyedCharge, PEEK_AND_START, REFUND, SCRIPT_COMMIT, type ScriptStep } from './script-args.ts'
import type { SlotPipelines } from './slot-pipeline.ts'

interface Group {
  readonly slot: number
  readonly charges: KeyedCharge[]
  /** Index of each charge in the message. */
  readonly chargeIndexes: number[]
}

/**
 * Decides one message on a Cluster. Charges of one slot are one atomic step. If charges span slots, all slots are
 * probed first and only then charged: a denied message charges none. If another client takes the units in between,
 * the charge is denied and the other slots are refunded. This never admits too much, but may briefly refuse others
 * too early. So the slot with the least remaining units is charged first.
 */
export async function decideMultiSlot(
  slotPipelines: SlotPipelines,
  step: ScriptStep,
  deadlineMs: number,
  onRefundFailed: (error: unknown) => void,
): Promise<readonly Verdict[]> {
  const groups = groupBySlot(step.charges)
  if (groups.length === 1) return slotPipelines.enqueue(groups[0]!.slot, step, deadlineMs)
  const ask = ({ slot, charges }: Group, kind: ScriptStep['kind']): Promise<readonly Verdict[]> =>
    slotPipelines.enqueue(slot, { kind, charges, nowMs: step.nowMs }, deadlineMs)

  const first = step.kind === SCRIPT_COMMIT ? PEEK_AND_START : step.kind
  const probed = await Promise.all(groups.map(group => ask(group, first)))
  const found = merge(groups, probed)
  if (step.kind !== SCRIPT_COMMIT || isDenied(step.charges, found)) return found

  const taken: PromiseSettledResult<readonly Verdict[]>[] = []
  const takeAll = async (some: readonly Group[]): Promise<void> => {
    taken.push(...(await Promise.allSettled(some.map(group => ask(group, SCRIPT_COMMIT)))))
  }
  const remainders = probed.map(verdicts => Math.min(...verdicts.map(({ remaining }) => remaining)))
  const least = Math.min(...remainders)
  const leastRemaining = groups[remainders.indexOf(least)]!
  const others = groups.filter(group => group !== leastRemaining)
  let order = groups
  if (least < slotPipelines.pending) {
    order = [leastRemaining, ...others]
    await takeAll([leastRemaining])
    if (isTaken(leastRemaining, taken[0]!)) await takeAll(others)
  } else {
    await takeAll(groups)
  }
  const done = order.slice(0, taken.length)
  if (taken.length === groups.length && done.every((group, index) => isTaken(group, taken[index]!))) {
    return merge(order, taken.map(verdictsOf))
  }
  done.forEach((group, index) => {
    if (!isTaken(group, taken[index]!)) return
    const own = verdictsOf(taken[index]!)
    const charges = group.charges.filter((_, chargeIndex) => own[chargeIndex]!.allowed)
    if (charges.length > 0) ask({ ...group, charges }, REFUND).catch(onRefundFailed)
  })
  const failure = taken.find(result => result.status === 'rejected')
  if (failure !== undefined) throw failure.reason
  // Charges that were not made keep their probed verdict.
  return merge(order, [
    ...taken.map(verdictsOf),
    ...order.slice(taken.length).map(group => probed[groups.indexOf(group)]!),
  ])
}

function verdictsOf(result: PromiseSettledResult<readonly Verdict[]>): readonly Verdict[] {
  return result.status === 'fulfilled' ? result.value : []
}

/** Returns true if a group was charged; a group with a denial charges nothing. */
function isTaken({ charges }: Group, result: PromiseSettledResult<readonly Verdict[]>): boolean {
  return result.status === 'fulfilled' && !isDenied(charges, result.value)
}

function groupBySlot(charges: readonly KeyedCharge[]): readonly Group[] {
  const groups = new Map<number, Group>()
  charges.forEach((charge, chargeIndex) => {
    const slot = slotOf(charge.stateKey)
    const group = groups.get(slot) ?? { slot, charges: [], chargeIndexes: [] }
    groups.set(slot, group)
    group.charges.push(charge)
    group.chargeIndexes.push(chargeIndex)
  })
  return [...groups.values()]
}

function merge(groups: readonly Group[], verdicts: readonly (readonly Verdict[])[]): readonly Verdict[] {
  const merged: Verdict[] = []
  groups.forEach(({ chargeIndexes }, index) => {
    verdicts[index]!.forEach((verdict, at) => {
      merged[chargeIndexes[at]!] = verdict
    })
  })
  return merged
}

function isDenied(charges: readonly KeyedCharge[], verdicts: readonly Verdict[]): boolean {
  return charges.some(({ soft }, chargeIndex) => !soft && verdicts[chargeIndex]?.allowed === false)
}
