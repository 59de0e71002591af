import { describe, expect, it } from 'vitest'
import { holds, pathsOf, problemsOf } from './conditions.ts'

describe('qos', () => {
  it('accepts one value or a list', () => {
    expect(([0, 1, 2] as const).map(qos => holds({ qos: 1 }, { qos }))).toEqual([false, true, false])
    expect(([0, 1, 2] as const).map(qos => holds({ qos: [0, 2] }, { qos }))).toEqual([true, false, true])
  })

  it('matches no message without QoS or with one out of range', () => {
    expect(holds({ qos: [0, 1, 2] })).toBe(false)
    for (const qos of [32, -1, 0.5, '1', null, Number.NaN]) {
      expect(holds({ qos: [0, 1, 2] }, { qos: qos as never })).toBe(false)
    }
  })

  it('refuses invalid values', () => {
    expect(problemsOf({ qos: 3 })).toEqual([
      { path: 'when.qos', message: '3 is not a QoS', remedy: 'write 0, 1 or 2, or a list of them' },
    ])
    expect(pathsOf({ qos: [0, '1', 7] })).toEqual(['when.qos[1]', 'when.qos[2]'])
    expect(pathsOf({ qos: [] })).toEqual(['when.qos'])
    expect(pathsOf({ qos: null })).toEqual(['when.qos'])
  })
})

describe('retain', () => {
  it('treats a missing property as not retained', () => {
    expect([true, false, undefined].map(retain => holds({ retain: true }, { retain }))).toEqual([
      true,
      false,
      false,
    ])
    expect([true, false, undefined].map(retain => holds({ retain: false }, { retain }))).toEqual([
      false,
      true,
      true,
    ])
  })

  it('refuses values other than true and false', () => {
    expect(pathsOf({ retain: 1 })).toEqual(['when.retain'])
  })
})

describe('protocol', () => {
  it('matches the protocol of the message', () => {
    expect(holds({ protocol: 'mqtt' }, { protocol: 'mqtt' })).toBe(true)
    expect(holds({ protocol: 'mqtt' }, { protocol: 'nats' })).toBe(false)
    expect(holds({ protocol: 'nats' })).toBe(false)
  })

  it('refuses other protocols', () => {
    expect(problemsOf({ protocol: 'amqp' })).toEqual([
      { path: 'when.protocol', message: '"amqp" is not a protocol', remedy: 'write mqtt or nats' },
    ])
  })
})
