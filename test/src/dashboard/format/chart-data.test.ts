import { expect, it } from 'vitest'
import type { AlertList, AuditRecord, Summary } from '../../../../src/dashboard/api/types.ts'
import { marksOf, pointsOf, rowsOf, seriesPath } from '../../../../src/dashboard/format/chart-data.ts'

const point = (atMs: number, allowed = 1, blocked = 0) => ({ atMs, allowed, blocked })
const period = (startMs: number) => ({ startMs, total: 10, blocked: 4, uniqueClients: 1 })
const summary = {
  hourly: [period(0), period(3_600_000)],
  daily: Array.from({ length: 30 }, (_, day) => period(day * 86_400_000)),
} as unknown as Summary

it('appends the ticks that the series does not have yet', () => {
  const series = { of: 'total', stepMs: 1_000, points: [point(1_000), point(2_000)] }
  const points = pointsOf('15m', series, [point(2_000), point(3_000)], summary)
  expect(points.map(({ atMs }) => atMs)).toEqual([1_000, 2_000, 3_000])
})

it('shows no points of another step', () => {
  const series = { of: 'total', stepMs: 1_000, points: [point(1_000)] }
  expect(pointsOf('1h', series, [], summary)).toEqual([])
})

it('takes days and weeks from the summary', () => {
  expect(seriesPath('24h')).toBeUndefined()
  expect(seriesPath('6h')).toBe('series?step=10s&for=6h')
  expect(pointsOf('24h', undefined, [], summary)).toEqual([point(0, 6, 4), point(3_600_000, 6, 4)])
  expect(pointsOf('7d', undefined, [], summary)).toHaveLength(7)
})

it('sums points by rows, the newest first, each with its marks', () => {
  const marks = [{ atMs: 61_000, kind: 'entry', text: 'ban added' } as const]
  expect(rowsOf([point(59_000), point(60_000, 2, 1), point(61_000)], marks, 60_000)).toEqual([
    { atMs: 60_000, allowed: 3, blocked: 1, marks },
    { atMs: 0, allowed: 1, blocked: 0, marks: [] },
  ])
})

it('marks changes, alerts and the policy since the begin of the chart', () => {
  const record = { atMs: 30, kind: 'ban', action: 'added', id: 'client:d7', by: 'ann' } as AuditRecord
  const alerts = { firing: [{ sinceMs: 20, text: 'too many' }], resolved: [{ sinceMs: 5, text: 'old' }] }
  expect(marksOf([record], alerts as unknown as AlertList, 10, 10)).toEqual([
    { atMs: 10, kind: 'policy', text: 'policy applied' },
    { atMs: 20, kind: 'alert', text: 'alert: too many' },
    { atMs: 30, kind: 'entry', text: 'ban added: client:d7, by ann' },
  ])
})
