import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileCondition, usesPayload } from '../../../src/conditions/compile.ts'
import type { ConditionSpec } from '../../../src/conditions/condition.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import type { Message } from '../../../src/core/message.ts'
import { holds, messageWith, pathsOf, problemsOf } from './conditions.ts'

/** A condition nested `depth` times in all, any and not. */
function nest(depth: number): ConditionSpec {
  let spec: ConditionSpec = { qos: 1 }
  for (let level = 0; level < depth; level++) {
    spec = level % 3 === 0 ? { all: [spec] } : level % 3 === 1 ? { any: [spec] } : { not: { not: spec } }
    if (level % 3 === 2) level++
  }
  return spec
}

describe('a condition', () => {
  it('matches if all properties of the object match', () => {
    const spec: ConditionSpec = {
      description: 'night alarms',
      time: '22:00-06:00',
      payload: { field: 'priority', equals: 'emergency' },
      header: { name: 'x', exists: true },
      size: { max: '1kB' },
      qos: [1, 2],
      retain: false,
      will: false,
      protocol: 'mqtt',
    }
    const right: Partial<Message> = {
      qos: 1,
      protocol: 'mqtt',
      headers: { x: '1' },
      payload: () => ({ priority: 'emergency' }),
    }
    const night = 23 * 3_600_000
    expect(holds(spec, right, night)).toBe(true)
    const wrong: readonly Partial<Message>[] = [
      { qos: 0 },
      { protocol: 'nats' },
      { retain: true },
      { will: true },
      { size: 1001 },
      { headers: {} },
      { payload: () => ({ priority: 'low' }) },
    ]
    for (const part of wrong) expect(holds(spec, { ...right, ...part }, night)).toBe(false)
    expect(holds(spec, right, 12 * 3_600_000)).toBe(false)
  })

  it('combines all, any and not with the other properties of the object', () => {
    const spec: ConditionSpec = {
      qos: 1,
      all: [{ retain: true }],
      any: [{ size: { min: 5 } }],
      not: { protocol: 'nats' },
    }
    const right: Partial<Message> = { qos: 1, retain: true, size: 5, protocol: 'mqtt' }
    expect(holds(spec, right)).toBe(true)
    const wrong: readonly Partial<Message>[] = [
      { qos: 2 },
      { retain: false },
      { size: 4 },
      { protocol: 'nats' },
    ]
    for (const part of wrong) expect(holds(spec, { ...right, ...part })).toBe(false)
  })

  it('does not parse the payload if a cheaper condition fails', () => {
    let parsed = 0
    const payload = (): unknown => {
      parsed++
      return {}
    }
    const spec: ConditionSpec = { payload: { field: 'a', exists: true }, qos: 2, days: 'thu' }
    expect(holds(spec, { qos: 1, payload })).toBe(false)
    expect(holds(spec, { qos: 2, payload }, 86_400_000)).toBe(false)
    expect(parsed).toBe(0)
    expect(holds(spec, { qos: 2, payload })).toBe(false)
    expect(parsed).toBe(1)
  })

  it('reads the payload with the message as `this`', () => {
    const message = {
      ...messageWith(),
      text: '{"a": 1}',
      payload(): unknown {
        return JSON.parse(this.text)
      },
    }
    expect(compileCondition({ payload: { field: 'a', equals: 1 } })(message, 0)).toBe(true)
  })

  it('matches no unreadable message, and never throws', () => {
    const fail = (): never => {
      throw new Error('hostile')
    }
    const message = new Proxy(messageWith(), { get: fail, has: fail })
    const specs: readonly ConditionSpec[] = [
      { qos: 1 },
      { retain: false },
      { protocol: 'mqtt' },
      { size: { min: 0 } },
      { header: { name: 'x', equals: 'v' } },
      { payload: { field: 'a', equals: 1 } },
      { not: { qos: 1 } },
      { any: [{ qos: 1 }, { size: { max: 5 } }] },
    ]
    for (const spec of specs) expect(compileCondition(spec)(message, 0)).toBe(false)
  })
})

describe('all, any and not', () => {
  /** Eight facts of a message, each behind its own bit, by different kinds of words. */
  const facts: readonly ConditionSpec[] = [
    { qos: 1 },
    { retain: true },
    { protocol: 'nats' },
    { size: { min: 1000 } },
    { header: { name: 'h', equals: 'yes' } },
    { payload: { field: 'p', equals: 'yes' } },
    { time: '12:00-24:00' },
    { days: 'fri' },
  ]
  const messageOf = (bits: number): Message =>
    messageWith({
      qos: bits & 1 ? 1 : 0,
      retain: (bits & 2) !== 0,
      protocol: bits & 4 ? 'nats' : 'mqtt',
      size: bits & 8 ? 1000 : 999,
      headers: { h: bits & 16 ? 'yes' : 'no' },
      payload: () => ({ p: bits & 32 ? 'yes' : 'no' }),
    })
  // The epoch was a Thursday.
  const timeOf = (bits: number): number => (bits & 64 ? 12 * 3_600_000 : 0) + (bits & 128 ? 86_400_000 : 0)

  interface Case {
    readonly spec: ConditionSpec
    readonly truth: (bits: number) => boolean
  }

  const { condition } = fc.letrec<{
    condition: Case
    fact: Case
    all: Case
    any: Case
    not: Case
    mixed: Case
  }>(tie => {
    const list = fc.array(tie('condition'), { minLength: 1, maxLength: 4 })
    return {
      condition: fc.oneof(
        { maxDepth: 5, depthSize: 'small' },
        tie('fact'),
        tie('all'),
        tie('any'),
        tie('not'),
        tie('mixed'),
      ),
      fact: fc
        .nat(facts.length - 1)
        .map(index => ({ spec: facts[index]!, truth: bits => ((bits >> index) & 1) === 1 })),
      all: list.map(cases => ({
        spec: { all: cases.map(each => each.spec) },
        truth: bits => cases.every(each => each.truth(bits)),
      })),
      any: list.map(cases => ({
        spec: { any: cases.map(each => each.spec) },
        truth: bits => cases.some(each => each.truth(bits)),
      })),
      not: tie('condition').map(inner => ({ spec: { not: inner.spec }, truth: bits => !inner.truth(bits) })),
      mixed: fc.tuple(tie('fact'), list, tie('condition')).map(([fact, cases, inner]) => ({
        spec: { ...fact.spec, any: cases.map(each => each.spec), not: inner.spec },
        truth: bits => fact.truth(bits) && cases.some(each => each.truth(bits)) && !inner.truth(bits),
      })),
    }
  })

  it('agree with Boolean algebra on every message', () => {
    let deepest = 0
    fc.assert(
      fc.property(condition, ({ spec, truth }) => {
        const compiled = compileCondition(spec)
        deepest = Math.max(deepest, JSON.stringify(spec).split('{').length)
        for (let bits = 0; bits < 256; bits++) {
          expect(compiled(messageOf(bits), timeOf(bits))).toBe(truth(bits))
        }
      }),
      { seed: 44, numRuns: 150 },
    )
    expect(deepest).toBeGreaterThan(10)
  })

  it('nest up to the maximum depth', () => {
    expect(holds(nest(MAX_SIZES.conditionDepth), { qos: 1 })).toBe(true)
    const problems = problemsOf(nest(MAX_SIZES.conditionDepth + 1))
    expect(problems).toHaveLength(1)
    expect(problems[0]?.message).toContain(`${MAX_SIZES.conditionDepth}`)
    expect(problems[0]?.path?.startsWith('when.')).toBe(true)
  })

  it('refuse a condition that contains itself, but not one used twice', () => {
    const circle: Record<string, unknown> = {}
    circle.all = [circle, circle]
    expect(pathsOf(circle)).toEqual(['when.all[0]', 'when.all[1]'])
    const twice: ConditionSpec = { qos: 1 }
    expect(holds({ all: [twice, { any: [twice] }] }, { qos: 1 })).toBe(true)
  })

  it('refuse empty lists and values that are not lists', () => {
    expect(pathsOf({ all: [], any: {}, not: [] })).toEqual(['when.all', 'when.any', 'when.not'])
    expect(pathsOf({ any: [null, 5, 'x'] })).toEqual(['when.any[0]', 'when.any[1]', 'when.any[2]'])
  })
})

describe('an invalid condition', () => {
  it('reports all problems at once, each with its path and a remedy', () => {
    const problems = problemsOf(
      {
        tmie: '22:00-06:00',
        time: '22-06',
        zone: 'Mars/Olympus',
        qos: 4,
        size: { max: 'big' },
        all: [{ retain: 'yes' }, { any: [{ payload: { field: '', equals: 1 } }] }],
        not: { header: { name: 'x' } },
        description: 5,
      },
      'exempt[2].when',
    )
    expect(problems.map(problem => problem.path).toSorted()).toEqual(
      [
        'tmie',
        'time',
        'zone',
        'qos',
        'size.max',
        'all[0].retain',
        'all[1].any[0].payload.field',
        'not.header',
        'description',
      ]
        .map(word => `exempt[2].when.${word}`)
        .toSorted(),
    )
    for (const problem of problems) expect(problem.remedy).toBeTruthy()
  })

  it('is refused if it is empty, because it would always match', () => {
    for (const spec of [{}, { description: 'nothing' }, { time: undefined }])
      expect(pathsOf(spec)).toEqual(['when'])
    expect(pathsOf({ any: [{}] })).toEqual(['when.any[0]'])
  })

  it('is refused if it is not an object', () => {
    for (const spec of [null, undefined, 'time', 5, [], true, () => true])
      expect(pathsOf(spec)).toEqual(['when'])
  })

  it('is refused for a property that only a prototype has, or that JSON creates', () => {
    expect(pathsOf(JSON.parse('{"__proto__": {"qos": 1}, "qos": 1}'))).toEqual(['when.__proto__'])
    expect(pathsOf({ qos: 1, constructor: 1 })).toEqual(['when.constructor'])
  })
})

describe('usesPayload', () => {
  it('finds a payload at any depth', () => {
    const payload = { field: 'a', exists: true }
    const specs: readonly ConditionSpec[] = [
      { payload },
      { all: [{ qos: 1 }, { payload }] },
      { any: [{ not: { payload } }] },
      { not: { all: [{ payload }] } },
    ]
    for (const spec of specs) expect(usesPayload(spec)).toBe(true)
  })

  it('finds none if nothing needs one', () => {
    const spec: ConditionSpec = {
      all: [{ qos: 1 }],
      any: [{ size: { min: 1 } }],
      not: { header: { name: 'payload', exists: true } },
    }
    expect(usesPayload(spec)).toBe(false)
  })
})
