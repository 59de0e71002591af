import { expect, it } from 'vitest'
import type { RefusalEvent } from '../../../../src/dashboard/api/types.ts'
import { addRefusal, type RefusalRow } from '../../../../src/dashboard/state/refusal-rows.ts'

function refusal(sender: string, atMs: number, change: Partial<RefusalEvent> = {}): RefusalEvent {
  return {
    sender,
    atMs,
    lastAtMs: atMs,
    count: 1,
    topic: 't',
    on: 'publish',
    rule: 'r',
    reason: 'rate_limit_exceeded',
    outcome: 'drop',
    retryAfterMs: 100,
    text: `at ${atMs}`,
    ...change,
  }
}

function rowsOf(...refusals: readonly RefusalEvent[]): readonly RefusalRow[] {
  return refusals.reduce(addRefusal, [] as readonly RefusalRow[])
}

it('counts equal refusals in one row that keeps its place, with the latest text', () => {
  const rows = rowsOf(refusal('a', 1), refusal('b', 2), refusal('a', 3, { count: 5 }))
  expect(rows.map(({ sender, count, text }) => [sender, count, text])).toEqual([
    ['b', 1, 'at 2'],
    ['a', 6, 'at 3'],
  ])
  expect(rows[1]!.key).toBe(rowsOf(refusal('a', 1))[0]!.key)
})

it('begins a row for another rule, reason or outcome, and after a pause', () => {
  const others = [{ rule: 'other' }, { reason: 'banned' }, { outcome: 'reject' }]
  for (const other of others) expect(rowsOf(refusal('a', 1), refusal('a', 2, other))).toHaveLength(2)
  expect(rowsOf(refusal('a', 0), refusal('a', 29_999), refusal('a', 59_999))).toHaveLength(2)
})

it('keeps the latest rows only', () => {
  const rows = rowsOf(...Array.from({ length: 100 }, (_, n) => refusal(`client-${n}`, n)))
  expect(rows).toHaveLength(40)
  expect(rows[0]!.sender).toBe('client-99')
})
