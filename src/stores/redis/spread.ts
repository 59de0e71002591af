import type { Verdict } from '../../algorithms/kernel.ts'
import { COMMIT, type KeyedCharge, PEEK, REFUND, type Step } from './call-text.ts'
import type { Lanes } from './lanes.ts'
import { slotOf } from './slot.ts'

interface Group {
  readonly slot: number
  readonly charges: KeyedCharge[]
  /** The place of each among those of the message. */
  readonly places: number[]
}

/**
 * A step on a Cluster. Charges of one slot are one atomic step. Where a message's charges span slots, all are asked
 * first and only then charged: what another sender took in between is found by the charge itself, and what the other
 * slots took is given back. Never too much is admitted; in such a moment others may be refused a little early.
 */
export async function askSpread(
  lanes: Lanes,
  step: Step,
  deadlineMs: number,
  onRefundFailed: (error: unknown) => void,
): Promise<readonly Verdict[]> {
  const groups = groupBySlot(step.charges)
  if (groups.length === 1) return lanes.ask(groups[0]!.slot, step, deadlineMs)
  const askAll = (kind: Step['kind']): Promise<readonly Verdict[]>[] =>
    groups.map(({ slot, charges }) => lanes.ask(slot, { kind, charges, nowMs: step.nowMs }, deadlineMs))

  const asked = merge(groups, await Promise.all(askAll(step.kind === REFUND ? REFUND : PEEK)))
  if (step.kind !== COMMIT || isDenied(step.charges, asked)) return asked

  const taken = await Promise.allSettled(askAll(COMMIT))
  const failure = taken.find(result => result.status === 'rejected')
  const verdicts = taken.map(result => (result.status === 'fulfilled' ? result.value : []))
  const merged = merge(groups, verdicts)
  if (failure === undefined && !isDenied(step.charges, merged)) return merged
  groups.forEach(({ slot, charges }, index) => {
    const own = verdicts[index]!
    // A group that denied one has taken none.
    if (own.length === 0 || isDenied(charges, own)) return
    const back = charges.filter((_, place) => own[place]!.allowed)
    if (back.length === 0) return
    const refund: Step = { kind: REFUND, charges: back, nowMs: step.nowMs }
    lanes.ask(slot, refund, deadlineMs).catch(onRefundFailed)
  })
  if (failure !== undefined) throw failure.reason
  return merged
}

function groupBySlot(charges: readonly KeyedCharge[]): readonly Group[] {
  const groups = new Map<number, Group>()
  charges.forEach((charge, place) => {
    const slot = slotOf(charge.stateKey)
    const group = groups.get(slot) ?? { slot, charges: [], places: [] }
    groups.set(slot, group)
    group.charges.push(charge)
    group.places.push(place)
  })
  return [...groups.values()]
}

function merge(groups: readonly Group[], verdicts: readonly (readonly Verdict[])[]): readonly Verdict[] {
  const merged: Verdict[] = []
  groups.forEach(({ places }, index) => {
    verdicts[index]!.forEach((verdict, at) => {
      merged[places[at]!] = verdict
    })
  })
  return merged
}

function isDenied(charges: readonly KeyedCharge[], verdicts: readonly Verdict[]): boolean {
  return charges.some(({ soft }, place) => !soft && verdicts[place]?.allowed === false)
}
