import { describe, expect, it } from 'vitest'
import { HyperLogLog } from '../../../src/analytics/hyperloglog.ts'

function count(prefix: string, from: number, to: number): HyperLogLog {
  const distinct = new HyperLogLog()
  for (let index = from; index < to; index++) distinct.add(`${prefix}${index}`)
  return distinct
}

function errorOf(distinct: HyperLogLog, truth: number): number {
  return Math.abs(distinct.estimate() - truth) / truth
}

describe('the estimate of distinct names', () => {
  it('is exact for none and for one, and counts repeats once', () => {
    expect(count('a', 0, 0).estimate()).toBe(0)
    const one = new HyperLogLog()
    for (let times = 0; times < 100; times++) one.add('client-1')
    expect(one.estimate()).toBe(1)
  })

  it.each(['client-', '', 'sensor/00', '设备', 'Ünï-'])(
    'is within 2 %% for names that begin with "%s"',
    prefix => {
      for (const truth of [100, 1_000, 10_000, 50_000, 200_000]) {
        expect(errorOf(count(prefix, 0, truth), truth), `of ${truth}`).toBeLessThan(0.02)
      }
    },
  )

  it('of merged nodes counts each name once', () => {
    const merged = count('c', 0, 60_000)
    merged.merge(count('c', 40_000, 100_000))
    expect(merged.estimate()).toBe(count('c', 0, 100_000).estimate())
  })

  it('is restored from its text, and from nothing else', () => {
    const distinct = count('c', 0, 5_000)
    const text = distinct.toText()
    expect(text.length).toBeLessThan(24_000)
    expect(HyperLogLog.fromText(text)?.estimate()).toBe(distinct.estimate())
    for (const other of ['', 'no text of this kind', Buffer.alloc(100).toString('base64')])
      expect(HyperLogLog.fromText(other)).toBeUndefined()
  })
})
