import { describe, expect, it } from 'vitest'
import {
  type CustomAlgorithm,
  type CustomState,
  createLimit,
  defineAlgorithm,
  type Limit,
  type StepResult,
  toAlgorithm,
} from '../../../src/algorithms/index.ts'
import { limit as rule } from '../../../src/chain/rules/create-limit-middleware.ts'
import { PolicyError, StoreError } from '../../../src/core/errors.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { Guard } from '../../../src/guard/guard.ts'
import { MemoryStore } from '../../../src/stores/memory/memory-store.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const PASSED: StepResult<CustomState> = {
  state: [1],
  allowed: true,
  remaining: 0,
  retryAfterMs: 0,
  resetMs: 0,
  expireInMs: 1000,
}

/** Counts up to the capacity, and begins anew a period after the first. */
const counter = defineAlgorithm({
  name: 'counter',
  step(state, nowMs, cost, { capacity, periodMs }) {
    const [startMs, used] =
      state?.length && nowMs < state[0]! + periodMs ? [state[0]!, state[1]!] : [nowMs, 0]
    const leftMs = Math.max(1, startMs + periodMs - nowMs)
    const allowed = used + cost <= capacity
    return {
      state: allowed ? [startMs, used + cost] : (state ?? []),
      allowed,
      remaining: Math.floor(capacity - used - (allowed ? cost : 0)),
      retryAfterMs: allowed ? 0 : cost > capacity ? Infinity : leftMs,
      resetMs: leftMs,
      expireInMs: leftMs,
    }
  },
  refund: ([startMs, used], _nowMs, cost) => [startMs!, Math.max(0, used! - cost)],
})

/** Remembers every charge: a state that grows. */
const diary: CustomAlgorithm = {
  name: 'diary',
  step: (state = [], nowMs) => ({ ...PASSED, state: [...state, nowMs] }),
}

function limitOf(algorithm: CustomAlgorithm, more: Partial<Parameters<typeof createLimit>[0]> = {}): Limit {
  return createLimit({ name: 'r', algorithm, count: 3, periodMs: 1000, ...more })
}

const commit = { commit: true }

describe('a custom algorithm', () => {
  it('runs in the memory store, all rules or none', () => {
    const clock = new FakeClock()
    const store = new MemoryStore({ clock })
    const charge = { limit: limitOf(counter, { burst: 4 }), key: 'a', cost: 2 }
    const full = { limit: limitOf(counter, { name: 'full', count: 1 }), key: '', cost: 2 }
    expect(store.decide([charge, full], commit).map(({ allowed }) => allowed)).toEqual([true, false])
    expect(store.decide([charge], commit)).toMatchObject([{ allowed: true, remaining: 2, resetMs: 1000 }])
    expect(store.decide([charge], commit)).toMatchObject([{ allowed: true, remaining: 0 }])
    clock.advance(400)
    expect(store.decide([charge], commit)).toEqual([
      { allowed: false, remaining: 0, retryAfterMs: 600, resetMs: 600 },
    ])
    store.refund([charge])
    expect(store.decide([charge], { commit: false })).toMatchObject([{ allowed: true, remaining: 0 }])
    store.refund([charge])
    store.refund([charge])
    expect(store.decide([charge], { commit: false })).toMatchObject([{ allowed: true, remaining: 2 }])
  })

  it('leaves no key behind once it is full', () => {
    const clock = new FakeClock()
    const store = new MemoryStore({ clock })
    for (let key = 0; key < 100; key++)
      store.decide([{ limit: limitOf(counter), key: `${key}`, cost: 1 }], commit)
    clock.advance(999)
    expect(store.health().keys).toBe(100)
    clock.advance(60_000)
    expect(store.health().keys).toBe(0)
    return store.close()
  })

  it('refunds nothing without a refund function', () => {
    const store = new MemoryStore({ clock: new FakeClock() })
    const { refund: _, ...without } = counter
    const charge = { limit: limitOf(without), key: '', cost: 3 }
    store.decide([charge], commit)
    store.refund([charge])
    expect(store.decide([charge], commit)).toMatchObject([{ allowed: false }])
  })

  it('may let its state grow up to its size, and fails beyond it', () => {
    const clock = new FakeClock(1)
    const store = new MemoryStore({ clock })
    const charge = { limit: limitOf({ ...diary, stateSize: 100 }), key: '', cost: 1 }
    for (let times = 0; times < 100; times++) store.decide([charge], commit)
    expect(() => store.decide([charge], commit)).toThrow(
      'the algorithm "diary" returned a state of 101 numbers where it may hold 100',
    )
    expect(() => limitOf({ ...diary, stateSize: MAX_SIZES.stateNumbers })).not.toThrow()
    expect(() => limitOf({ ...diary, stateSize: MAX_SIZES.stateNumbers + 1 })).toThrow(PolicyError)
  })

  it('keeps fewer keys the larger a state may be', () => {
    const clock = new FakeClock()
    const store = new MemoryStore({ clock })
    const most = Math.floor(MAX_SIZES.logEntriesPerRule / (MAX_SIZES.stateNumbers / 2))
    const large = limitOf({ ...counter, stateSize: MAX_SIZES.stateNumbers })
    for (let key = 0; key < most + 50; key++) store.decide([{ limit: large, key: `${key}`, cost: 1 }], commit)
    expect(store.health()).toMatchObject({ keys: most, evictions: 50 })
    return store.close()
  })

  it('equals its pure step', () => {
    const limit = limitOf(counter)
    const pure = toAlgorithm(limit.kernel)
    let kept: readonly number[] | undefined
    for (const expected of [2, 1, 0]) {
      const step = pure.step(kept, 5000, 1, limit)
      expect(step).toMatchObject({ allowed: true, remaining: expected, expireInMs: 1000 })
      kept = step.state
    }
    expect(pure.step(kept, 5100, 1, limit)).toMatchObject({ allowed: false, retryAfterMs: 900, state: kept })
    const grown = limitOf(diary)
    kept = undefined
    for (let times = 0; times < 20; times++)
      kept = toAlgorithm(grown.kernel).step(kept, times, 1, grown).state
    expect(kept!.slice(3, 23)).toEqual(Array.from({ length: 20 }, (_, index) => index))
  })

  it('keeps its state under changed numbers, and carries it to another algorithm and back', () => {
    const clock = new FakeClock()
    const store = new MemoryStore({ clock })
    const left = (limit: Limit): number => store.decide([{ limit, key: '', cost: 0 }], commit)[0]!.remaining
    store.decide([{ limit: limitOf(counter), key: '', cost: 2 }], commit)
    expect(left(limitOf(counter, { count: 10 }))).toBe(8)
    expect(left(limitOf(counter, { count: 10, periodMs: 60_000 }))).toBe(8)
    const bucket = createLimit({ name: 'r', algorithm: 'token-bucket', count: 6, periodMs: 60_000 })
    expect(left(bucket)).toBe(4)
    expect(left(limitOf(counter, { count: 7, periodMs: 60_000 }))).toBe(5)
    expect(
      store.decide([{ limit: limitOf(counter, { count: 7 }), key: '', cost: 6 }], commit)[0]!.allowed,
    ).toBe(false)
  })

  it('refunds also units carried over from another algorithm, never above full', () => {
    const store = new MemoryStore({ clock: new FakeClock() })
    const bucket = createLimit({ name: 'r', algorithm: 'token-bucket', count: 3, periodMs: 60_000 })
    store.decide([{ limit: bucket, key: '', cost: 3 }], commit)
    const charge = { limit: limitOf(counter), key: '', cost: 2 }
    expect(store.decide([charge], commit)).toMatchObject([{ allowed: false, remaining: 0 }])
    store.refund([charge])
    expect(store.decide([{ ...charge, cost: 0 }], { commit: false })).toMatchObject([{ remaining: 2 }])
    for (let times = 0; times < 3; times++) store.refund([charge])
    expect(store.decide([{ ...charge, cost: 0 }], { commit: false })).toMatchObject([{ remaining: 3 }])
  })

  it('counts fractions if costs may be fractional', () => {
    const store = new MemoryStore({ clock: new FakeClock() })
    const charge = { limit: limitOf(counter, { count: 1, fractional: true }), key: '', cost: 0.25 }
    expect([1, 2, 3, 4, 5].map(() => store.decide([charge], commit)[0]!.allowed)).toEqual([
      true,
      true,
      true,
      true,
      false,
    ])
  })
})

describe('an invalid step', () => {
  const wrong: readonly (readonly [what: string, step: () => unknown, says: string])[] = [
    ['throws', () => raise(new Error('mine')), 'threw in its step'],
    ['returns nothing', () => undefined, 'returned no object'],
    ['returns null', () => null, 'returned no object'],
    [
      'has a getter that throws',
      () => Object.defineProperty({}, 'allowed', { get: () => raise(1) }),
      'threw',
    ],
    ['says neither yes nor no', () => ({ ...PASSED, allowed: 1 }), 'not true or false'],
    ['leaves NaN', () => ({ ...PASSED, remaining: Number.NaN }), 'NaN as remaining'],
    ['leaves less than nothing', () => ({ ...PASSED, remaining: -1 }), '-1 as remaining'],
    ['leaves half a unit', () => ({ ...PASSED, remaining: 0.5 }), '0.5 as remaining'],
    ['is never whole again', () => ({ ...PASSED, expireInMs: Infinity }), 'Infinity as expireInMs'],
    ['has no time to be whole', () => ({ ...PASSED, resetMs: undefined }), 'undefined as resetMs'],
    ['allows and asks to wait', () => ({ ...PASSED, retryAfterMs: 5 }), '5 as retryAfterMs and true'],
    ['denies without a wait', () => ({ ...PASSED, allowed: false }), '0 as retryAfterMs and false'],
    ['waits a negative time', () => ({ ...PASSED, allowed: false, retryAfterMs: -1 }), '-1 as retryAfterMs'],
    ['keeps a text', () => ({ ...PASSED, state: 'abc' }), 'a state that is no list'],
    ['keeps NaN', () => ({ ...PASSED, state: [1, Number.NaN] }), 'finite numbers'],
    [
      'keeps too much',
      () => ({ ...PASSED, state: new Array(257).fill(0) }),
      '257 numbers where it may hold 256',
    ],
  ]

  it.each(wrong)('that %s is a StoreError with its name', (_what, step, says) => {
    const store = new MemoryStore({ clock: new FakeClock() })
    const broken = { name: 'broken', step } as CustomAlgorithm
    const decide = (): unknown => store.decide([{ limit: limitOf(broken), key: '', cost: 1 }], commit)
    expect(decide).toThrow(StoreError)
    expect(decide).toThrow('the algorithm "broken" ')
    expect(decide).toThrow(says)
  })

  it('whose refund throws or returns an invalid state is a StoreError too', () => {
    for (const refund of [() => raise(new Error('mine')), () => [Number.NaN, 1], () => [1, 2, 3], () => 5]) {
      const store = new MemoryStore({ clock: new FakeClock() })
      const algorithm = { ...counter, refund } as CustomAlgorithm
      const charge = { limit: limitOf(algorithm), key: '', cost: 1 }
      store.decide([charge], commit)
      expect(() => store.refund([charge])).toThrow(StoreError)
      expect(store.decide([charge], commit)).toMatchObject([{ allowed: true, remaining: 1 }])
    }
  })

  it('blocks no message: the guard answers and counts', async () => {
    const clock = new FakeClock()
    const gate = new Gate({ clock })
    gate.use(
      rule({
        name: 'mine',
        rate: '1/s',
        algorithm: { name: 'broken', step: () => raise(new Error('mine')) },
      }),
    )
    const guard = new Guard(gate)
    const message = { topic: 'a', on: 'publish', sender: { client: 'c' }, size: 0 } as const
    for (let times = 0; times < 3; times++) {
      expect(guard.ask(message)).toMatchObject({ fallback: true, reason: 'store_unavailable' })
    }
    expect(() => gate.check(message)).toThrow(StoreError)
    await gate.close()
  })

  function raise(error: unknown): never {
    throw error
  }
})

describe('an invalid algorithm', () => {
  const step = counter.step
  it.each([
    [{ name: 'Two Words', step }, '"Two Words" cannot be the name of an algorithm'],
    [{ name: '', step }, 'cannot be the name'],
    [{ step }, '"undefined" cannot be the name'],
    [{ name: 'token-bucket', step }, 'there is an algorithm "token-bucket" already'],
    [{ name: 'mine' }, 'the algorithm "mine" has no step'],
    [{ name: 'mine', step, refund: 1 }, 'refund of the algorithm "mine" is not a function'],
    [{ name: 'mine', step, lua: ' ' }, 'lua of the algorithm "mine" is not a text'],
    [{ name: 'mine', step, luaRefund: '' }, 'luaRefund of the algorithm "mine" is not a text'],
    [{ name: 'mine', step, stateSize: 0 }, 'stateSize of the algorithm "mine" is 0'],
    [{ name: 'mine', step, stateSize: 1.5 }, 'stateSize of the algorithm "mine" is 1.5'],
  ])('is refused: %o', (algorithm, says) => {
    expect(() => defineAlgorithm(algorithm as CustomAlgorithm)).toThrow(PolicyError)
    expect(() => defineAlgorithm(algorithm as CustomAlgorithm)).toThrow(says)
    expect(() => limitOf(algorithm as CustomAlgorithm)).toThrow(says)
  })

  it('has no initial tokens, and `custom` is not an algorithm name', () => {
    expect(() => limitOf(counter, { initial: 1 })).toThrow('initial: a counter has no initial tokens')
    expect(() => limitOf('custom' as unknown as CustomAlgorithm)).toThrow('unknown algorithm "custom"')
  })
})
