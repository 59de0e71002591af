import { describe, expect, it } from 'vitest'
import type { Decision } from '../../../src/core/decision.ts'
import { PolicyError } from '../../../src/core/errors.ts'
import type { Message } from '../../../src/core/message.ts'
import { compileDegrade, type DegradeOptions, degradeMessage } from '../../../src/outcomes/degrade.ts'

const decision: Decision = {
  ...{ allowed: true, outcome: 'degrade', reason: 'rate_limit_exceeded' },
  ...{ rule: 'thin', retryAfterMs: 0 },
}
const message = (payload: unknown): Message => ({
  ...{ topic: 't', on: 'publish', sender: {}, size: 1, qos: 2, retain: true },
  payload: () => payload,
})
const degrade = (options: DegradeOptions, payload: unknown = undefined) =>
  degradeMessage(compileDegrade(options, 'degrade'), message(payload), decision)
const textOf = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString()

describe('the cheaper form of a message', () => {
  it('is QoS 0 and not retained where nothing else is said, its payload untouched', () => {
    expect(degrade({})).toEqual({ payload: undefined, retain: false, qos: 0, headers: {} })
  })

  it('keeps retain and QoS where the rule says so, and never raises a QoS', () => {
    expect(degrade({ clearRetain: false, qos: 1 })).toMatchObject({ retain: true, qos: 1 })
    const plan = compileDegrade({ qos: 2 }, 'degrade')
    expect(degradeMessage(plan, { ...message({}), qos: 1 }, decision).qos).toBe(1)
  })

  it('is marked with the name of its rule', () => {
    expect(degrade({ mark: 'x-degraded' }).headers).toEqual({ 'x-degraded': 'thin' })
  })

  const payload = { value: 1, unit: 'C', raw: { trace: [1, 2], spectrum: { low: 1, high: 2 } } }

  it('keeps some fields, at any depth', () => {
    expect(textOf(degrade({ keep: ['value', 'raw.spectrum.low', 'missing.x'] }, payload).payload)).toBe(
      '{"value":1,"raw":{"spectrum":{"low":1}}}',
    )
    expect(textOf(degrade({ keep: ['raw', 'raw.trace'] }, payload).payload)).toBe(
      '{"raw":{"trace":[1,2],"spectrum":{"low":1,"high":2}}}',
    )
  })

  it('strips some fields, and changes nothing of the message itself', () => {
    const before = JSON.stringify(payload)
    expect(textOf(degrade({ strip: ['raw.trace', 'raw.spectrum.high', 'no.such'] }, payload).payload)).toBe(
      '{"value":1,"unit":"C","raw":{"spectrum":{"low":1}}}',
    )
    expect(JSON.stringify(payload)).toBe(before)
  })

  it('leaves a payload alone that is no JSON object, or cannot be read', () => {
    const hostile = {
      get value(): number {
        throw new Error('no')
      },
    }
    for (const other of [undefined, null, 7, 'text', [1], hostile]) {
      expect(degrade({ keep: ['value'] }, other).payload).toBeUndefined()
    }
  })

  it('reaches no prototype', () => {
    const odd: unknown = JSON.parse('{"__proto__": {"a": 1, "b": 2}, "constructor": 1, "c": 3}')
    expect(textOf(degrade({ keep: ['__proto__.a', 'toString'] }, odd).payload)).toBe('{"__proto__":{"a":1}}')
    expect(textOf(degrade({ strip: ['__proto__.a', 'c'] }, odd).payload)).toBe(
      '{"__proto__":{"b":2},"constructor":1}',
    )
    expect(Object.hasOwn(Object.prototype, 'a')).toBe(false)
  })

  it('is refused where it makes no sense', () => {
    for (const options of [
      { sample: 0 },
      { sample: 1.5 },
      { qos: 3 },
      { keep: [] },
      { keep: ['a'], strip: ['b'] },
      { strip: ['a[0]'] },
      { mark: 'a b' },
      { clearRetain: 1 },
      { smaple: 10 },
    ]) {
      expect(() => compileDegrade(options as DegradeOptions, 'degrade'), JSON.stringify(options)).toThrow(
        PolicyError,
      )
    }
  })
})
