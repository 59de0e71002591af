import { describe, expect, it } from 'vitest'
import type { ConditionSpec } from '../../../src/conditions/condition.ts'
import { describeCondition } from '../../../src/conditions/describe.ts'

const CASES: readonly (readonly [string, ConditionSpec])[] = [
  [
    'time 22:00-06:00 mon-fri Europe/Berlin and payload priority = "emergency"',
    {
      time: '22:00-06:00',
      days: 'mon-fri',
      zone: 'Europe/Berlin',
      payload: { field: 'priority', equals: 'emergency' },
    },
  ],
  ['time 08:00-17:00 UTC', { time: '08:00-17:00' }],
  ['days sat,sun UTC', { days: ['sat', 'sun'] }],
  ['protocol mqtt and qos 1 or 2 and not retained', { qos: [1, 2], retain: false, protocol: 'mqtt' }],
  ['qos 0 and retained', { qos: 0, retain: true }],
  ['retained and a will', { retain: true, will: true }],
  ['size 1kB to 2000', { size: { min: '1kB', max: 2000 } }],
  ['size >= 5', { size: { min: 5 } }],
  ['size <= 0', { size: { max: 0 } }],
  ['payload a in ["x",1,null]', { payload: { field: 'a', in: ['x', 1, null] } }],
  ['payload a 1 to 2', { payload: { field: 'a', range: [1, 2] } }],
  ['payload a <= 2', { payload: { field: 'a', range: [null, 2] } }],
  ['header x exists', { header: { name: 'x', exists: true } }],
  ['header x is absent', { header: { name: 'x', exists: false } }],
  ['payload a = null', { payload: { field: 'a', equals: null } }],
  ['not (qos 1 and retained)', { not: { qos: 1, retain: true } }],
  ['(qos 1 or (qos 2 and retained))', { any: [{ qos: 1 }, { qos: 2, retain: true }] }],
  ['qos 1 and (retained and not (qos 2))', { qos: 1, all: [{ retain: true }, { not: { qos: 2 } }] }],
  ['qos 1', { any: [{ qos: 1 }] }],
  ['fire alarms (qos 1)', { description: ' fire\nalarms ', qos: 1 }],
]

describe('the description of a condition', () => {
  it.each(CASES)('is %s', (text, spec) => {
    expect(describeCondition(spec)).toBe(text)
  })

  it('shows no secret, at any depth', () => {
    const secret = 'correct horse'
    const header = { name: 'x-bypass', secret }
    expect(describeCondition({ header })).toBe('header x-bypass = ***')
    expect(describeCondition({ any: [{ not: { header } }, { all: [{ header }] }] })).not.toContain('horse')
  })

  it('shows no value of a header whose name suggests a secret', () => {
    const describeHeader = (test: ConditionSpec['header']): string => describeCondition({ header: test })
    expect(describeHeader({ name: 'X-Api-Key', equals: 'k1' })).toBe('header X-Api-Key = ***')
    expect(describeHeader({ name: 'X-Api-Key', in: ['k1', 'k2'] })).toBe('header X-Api-Key in ***')
    expect(describeHeader({ name: 'X-Api-Key', exists: true })).toBe('header X-Api-Key exists')
    expect(describeHeader({ name: 'x-priority', equals: 'high' })).toBe('header x-priority = "high"')
  })

  it('is one line of bounded length', () => {
    const spec: ConditionSpec = {
      description: 'a\u0000b\r\n\u001b[31mc',
      header: { name: 'x\ny', equals: 'v\nw' },
      any: Array.from({ length: 5_000 }, () => ({ qos: 1 as const })),
    }
    const text = describeCondition(spec)
    expect(text).toMatch(/^a b \[31mc \(header x y = "v\\nw" and /)
    expect(text).not.toMatch(/\p{Cc}/u)
    expect(text).toHaveLength(2_000)
    expect(text.endsWith('…')).toBe(true)
  })
})
