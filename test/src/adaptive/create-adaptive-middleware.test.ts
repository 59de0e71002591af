import { afterEach, describe, expect, it } from 'vitest'
import { type AdaptiveOptions, adaptive, errorRate, queueDepth } from '../../../src/adaptive/index.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import {
  type Decision,
  Gate,
  type GateOptions,
  limit,
  type Message,
  quota,
  type Scaled,
} from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const EVERY_MS = 10_000
const gates: Gate[] = []
afterEach(async () => {
  for (const gate of gates.splice(0)) await gate.close()
})

function message(client = 'c1', topic = 't'): Message {
  return { topic, on: 'publish', sender: { client }, size: 10 }
}

/** A gate whose load is what the test says. */
class Scene {
  readonly clock = new FakeClock()
  readonly changes: (Scaled | undefined)[] = []
  readonly warnings: object[] = []
  readonly gate: Gate
  load: unknown = 0.5

  constructor(options: Partial<GateOptions> = {}) {
    const ignore = (): void => {}
    const logger = {
      debug: ignore,
      info: ignore,
      error: ignore,
      warn: (context: object) => void this.warnings.push(context),
    }
    this.gate = new Gate({ clock: this.clock, logger, ...options })
    this.gate.on('scaled', scaled => this.changes.push(scaled))
    gates.push(this.gate)
  }

  adaptive(options: AdaptiveOptions = {}): ReturnType<typeof adaptive> {
    const readLoad = (): number => {
      if (this.load instanceof Error) throw this.load
      return this.load as number
    }
    return adaptive({ signal: { name: 'given', read: readLoad }, ...options })
  }

  check(sent = message()): Decision {
    return this.gate.check(sent) as Decision
  }

  /** A load, and the intervals it lasts. */
  under(load: unknown, intervals = 1): this {
    this.load = load
    this.clock.advance(intervals * EVERY_MS)
    return this
  }

  /** How many of a thousand pass at once. */
  passed(sent = message()): number {
    let count = 0
    for (let n = 0; n < 1_000; n++) if (this.check(sent).allowed) count++
    return count
  }
}

describe('adaptive limits', () => {
  it('apply as written until the first reading, then follow the level of the load', () => {
    const scene = new Scene()
    scene.gate.use(scene.adaptive(), limit({ name: 'all', rate: '10/s burst 20', per: 'client' }))
    expect(scene.check()).toMatchObject({ limit: 20, remaining: 19 })
    expect(scene.check()).not.toHaveProperty('scaled')
    scene.under(0.1)
    expect(scene.check()).toMatchObject({ limit: 30, scaled: { factor: 1.5, reason: 'load low' } })
    scene.under(0.5)
    expect(scene.check()).not.toHaveProperty('scaled')
    scene.under(0.9)
    expect(scene.check()).toMatchObject({
      limit: 10,
      remaining: 9,
      scaled: { factor: 0.5, reason: 'load high' },
    })
    expect(scene.changes.map(scaled => scaled?.factor)).toEqual([1.5, undefined, 0.5])
  })

  it('act on the next message, and neither return nor remove used units', () => {
    const scene = new Scene()
    scene.gate.use(scene.adaptive(), limit({ name: 'all', rate: '1/hour burst 100', per: 'client' }))
    for (let n = 0; n < 30; n++) scene.check()
    scene.under(0.9)
    // 50 in all, 30 of them used.
    expect(scene.passed()).toBe(20)
    scene.under(0.1, 2)
    // 150 in all: a change mints the difference of the capacities and no more.
    expect(scene.passed()).toBe(100)
    scene.under(0.9).under(0.1, 2).under(0.9).under(0.1, 2)
    expect(scene.passed()).toBe(0)
  })

  it.each(['token-bucket', 'leaky-bucket', 'fixed-window', 'sliding-log', 'sliding-counter'] as const)(
    'leave at least 1 of a %s, whatever the factor',
    algorithm => {
      const scene = new Scene()
      scene.gate.use(
        scene.adaptive({ levels: { all: 0.001 } }),
        limit({ name: 'all', rate: '5/hour', algorithm }),
      )
      scene.check(message())
      scene.gate.reset()
      scene.under(0)
      expect(scene.check()).toMatchObject({ allowed: true, limit: 1 })
      expect(scene.check()).toMatchObject({ allowed: false, scaled: { factor: 0.001 } })
    },
  )

  it('deny nothing to a sender that stays below its reduced limit', () => {
    const scene = new Scene()
    scene.gate.use(scene.adaptive(), limit({ name: 'all', rate: '10/s', per: 'client' }))
    let refused = 0
    for (let second = 0; second < 120; second++) {
      scene.load = second % 30 < 15 ? 0.9 : 0.1
      for (let n = 0; n < 4; n++) {
        if (!scene.check().allowed) refused++
        scene.clock.advance(250)
      }
    }
    expect(refused).toBe(0)
    expect(scene.changes.length).toBeGreaterThan(2)
  })

  it('scale the limits after it; quotas and earlier limits apply as written', () => {
    const scene = new Scene()
    scene.gate.use(
      limit({ name: 'before', rate: '10/hour', priority: -1 }),
      scene.adaptive(),
      limit({ name: 'after', rate: '10/hour', priority: 7 }),
      quota({ name: 'daily', rate: '10/day' }),
    )
    scene.check()
    scene.under(0.9)
    const limits = async (): Promise<readonly unknown[]> =>
      (await scene.gate.explain(message())).limits.map(({ rule, limit, scaled }) => [
        rule,
        limit,
        scaled?.factor,
      ])
    return expect(limits()).resolves.toEqual([
      ['after', 5, 0.5],
      ['daily', 10, undefined],
      ['before', 10, undefined],
    ])
  })

  it('apply to the topics of their pattern; of two, the nearest applies', () => {
    const scene = new Scene()
    scene.gate.use(scene.adaptive({ levels: { all: 2 } }))
    scene.gate.use('a/#', scene.adaptive({ levels: { all: 3 } }))
    scene.gate.use(limit({ name: 'all', rate: '10/hour', per: 'topic' }))
    scene.check()
    scene.under(0)
    expect(scene.check(message('c', 'a/b')).limit).toBe(30)
    expect(scene.check(message('c', 'b')).limit).toBe(20)
  })

  it('a limit that cannot be multiplied exactly stays as it is written', () => {
    const scene = new Scene()
    const rate = `${MAX_SIZES.logEntries}/hour`
    scene.gate.use(
      scene.adaptive({ levels: { all: 2 } }),
      limit({ name: 'log', rate, algorithm: 'sliding-log' }),
    )
    scene.check()
    scene.under(0)
    const decision = scene.check()
    expect(decision.limit).toBe(MAX_SIZES.logEntries)
    expect(decision).not.toHaveProperty('scaled')
  })

  it('combine with an override factor, but do not scale a rate set by an override', async () => {
    const scene = new Scene()
    scene.gate.use(scene.adaptive(), limit({ name: 'all', rate: '10/s', per: 'client' }))
    await scene.gate.overrides.add({ client: 'times', limit: 'x3', reason: 'test' })
    await scene.gate.overrides.add({ client: 'rate', limit: '100/s', reason: 'test' })
    scene.check()
    scene.under(0.9)
    expect(scene.check(message('times'))).toMatchObject({ limit: 15, scaled: { factor: 0.5 } })
    expect(scene.check(message('rate'))).toMatchObject({ limit: 100, reason: 'override' })
    expect(scene.check(message('rate'))).not.toHaveProperty('scaled')
  })

  it('keep the factor while the load oscillates around a threshold', () => {
    const scene = new Scene()
    scene.gate.use(scene.adaptive(), limit({ name: 'all', rate: '10/s' }))
    scene.check()
    for (let n = 0; n < 100; n++) scene.under(n % 2 === 0 ? 0.72 : 0.68)
    expect(scene.changes).toHaveLength(1)
    for (let n = 0; n < 5; n++) scene.under(0.1)
    expect(scene.changes).toHaveLength(2)
  })
})

describe('stages', () => {
  it('reduce by the smallest factor, and name the reason', () => {
    const scene = new Scene()
    const depth = { count: 0 }
    const errors = errorRate()
    const shares = { cpu: 0, memory: 0 }
    scene.gate.use(
      adaptive({
        stages: 'default',
        signals: [
          { name: 'cpu', read: () => shares.cpu },
          { name: 'memory', read: () => shares.memory },
          queueDepth(() => depth.count),
          errors,
        ],
      }),
      limit({ name: 'all', rate: '100/s' }),
    )
    scene.check()
    const look = (): Scaled | undefined => {
      scene.clock.advance(EVERY_MS)
      return scene.check().scaled
    }
    expect(look()).toBeUndefined()
    shares.cpu = 0.61
    expect(look()).toEqual({ factor: 0.75, reason: 'cpu above 60%' })
    shares.memory = 0.81
    expect(look()).toEqual({ factor: 0.7, reason: 'memory above 80%' })
    depth.count = 1_001
    expect(look()).toEqual({ factor: 0.6, reason: 'queue-depth above 1000' })
    shares.cpu = 0.81
    expect(look()).toEqual({ factor: 0.5, reason: 'cpu above 80%' })
    shares.cpu = 0
    shares.memory = 0
    depth.count = 0
    look()
    expect(look()).toBeUndefined()
    for (let n = 0; n < 100; n++) errors.observe(n >= 11)
    expect(look()).toEqual({ factor: 0.5, reason: 'error-rate above 10%' })
    for (let n = 0; n < 9; n++) errors.observe(false)
    look()
    // Nine failures are no rate.
    expect(look()).toBeUndefined()
  })

  it('combined with levels use the smallest factor', () => {
    const scene = new Scene()
    const stages = { given: { '50%': 0.8 } }
    scene.gate.use(
      scene.adaptive({ levels: { low: '1.5 up to 30%', medium: '1 up to 70%', high: 0.5 }, stages }),
      limit({ name: 'all', rate: '10/s' }),
    )
    scene.check()
    expect(scene.under(0.1).check().scaled?.factor).toBe(1.5)
    expect(scene.under(0.6).check().scaled?.factor).toBe(0.8)
    expect(scene.under(0.8).check().scaled?.factor).toBe(0.5)
  })
})

describe('signals', () => {
  it.each([new Error('gone'), Number.NaN, -1, 'much'])(
    'that return %s are left out, counted, and logged once',
    broken => {
      const scene = new Scene()
      const middleware = scene.adaptive()
      scene.gate.use(middleware, limit({ name: 'all', rate: '10/s' }))
      scene.check()
      scene.under(0.9)
      expect(scene.check().scaled?.factor).toBe(0.5)
      scene.under(broken, 3)
      // Of nothing nothing follows.
      expect(scene.check()).not.toHaveProperty('scaled')
      expect(middleware.report()).toMatchObject({ broken: { given: 3 }, signals: {}, load: undefined })
      expect(scene.warnings).toEqual([expect.objectContaining({ signal: 'given' })])
      expect(scene.under(0.9).check().scaled?.factor).toBe(0.5)
    },
  )

  it('determine the load by the highest of them', () => {
    const scene = new Scene()
    const middleware = adaptive({ signals: [() => 0.2, { name: 'lag', full: 500, read: () => 450 }] })
    scene.gate.use(middleware, limit({ name: 'all', rate: '10/s' }))
    scene.check()
    scene.clock.advance(EVERY_MS)
    expect(middleware.report()).toEqual({
      ...{ load: 0.9, signals: { signal: 0.2, lag: 450 }, broken: {}, changes: 1 },
      scaled: { factor: 0.5, reason: 'load high' },
    })
  })

  it('of this machine are closed with the gate and leave no timer', async () => {
    const scene = new Scene()
    const middleware = adaptive()
    scene.gate.use(middleware, limit({ name: 'all', rate: '10/s' }))
    scene.check()
    const before = scene.clock.pending
    scene.clock.advance(2 * EVERY_MS)
    expect(Object.keys(middleware.report().signals)).toEqual(expect.arrayContaining(['memory', 'event-loop']))
    await scene.gate.close()
    expect(scene.clock.pending).toBe(before - 2)
  })
})

describe('a gate', () => {
  it('uses a fixed load, from the first message on', () => {
    const scene = new Scene({ load: 0.9 })
    scene.gate.use(scene.adaptive(), limit({ name: 'all', rate: '10/s' }))
    expect(scene.check()).toMatchObject({ limit: 5, scaled: { factor: 0.5, reason: 'load high' } })
    scene.under(0.1, 5)
    expect(scene.check().limit).toBe(5)
  })

  it('measures nothing if load is none', () => {
    const scene = new Scene({ load: 'none' })
    scene.gate.use(scene.adaptive(), limit({ name: 'all', rate: '10/s' }))
    scene.check()
    expect(scene.under(0.9, 5).check().limit).toBe(10)
  })

  it('stops measuring when the chain drops the middleware', async () => {
    const scene = new Scene()
    const second = new Scene()
    const middleware = scene.adaptive()
    scene.gate.use(middleware)
    scene.check()
    second.gate.use(middleware)
    expect(() => second.check()).toThrow(/belongs to one gate/)
    await scene.gate.close()
    expect(second.check().allowed).toBe(true)
  })
})

describe('adaptive()', () => {
  it.each([
    [{ everyMs: 5 }, /everyMs: 5 is not an interval/],
    [{ everyMs: Number.NaN }, /everyMs/],
    [{ signals: [] }, /there are 0 signals/],
    [{ signals: ['disk'] }, /signals\[0\]: "disk" is not a signal/],
    [{ signals: ['__proto__'] }, /is not a signal/],
    [{ signals: ['cpu', 'cpu'] }, /two signals have one name/],
    [
      { signals: Array.from({ length: 17 }, (_, n) => ({ name: `${n}`, read: () => 0 })) },
      /there are 17 signals/,
    ],
    [{ signal: { name: 'x', full: 0, read: () => 0 } }, /full: 0 is not a load/],
    [{ stages: { disk: { '10%': 1 } } }, /stages\.disk: there is no such signal/],
    [{ levels: {} }, /levels: there are 0/],
  ] as const)('refuses %o', (options, message) => {
    expect(() => adaptive(options as unknown as AdaptiveOptions)).toThrow(message)
  })
})
