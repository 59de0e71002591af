import { describe, expect, it } from 'vitest'
import {
  type CircuitBreaker,
  circuitBreaker,
  type HandlerBreakerOptions,
} from '../../../src/adaptive/index.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { type Decision, Gate, type Message } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

function message(topic = 't'): Message {
  return { topic, on: 'publish', sender: { client: 'c' }, size: 1 }
}

class Scene {
  readonly clock = new FakeClock()
  readonly breaker: CircuitBreaker
  readonly gate: Gate

  constructor(options: HandlerBreakerOptions = {}) {
    this.breaker = circuitBreaker({ clock: this.clock, ...options })
    this.gate = new Gate({ clock: this.clock }).use(this.breaker.guard)
  }

  check(topic?: string): Decision {
    return this.gate.check(message(topic)) as Decision
  }

  observe(failed: number, done: number, topic?: string): this {
    for (let n = 0; n < done; n++) this.breaker.observe(message(topic), true)
    for (let n = 0; n < failed; n++) this.breaker.observe(message(topic), false)
    return this
  }
}

describe('a circuit breaker', () => {
  it.each([
    [10, 0, 'closed'],
    [11, 0, 'open'],
    [6, 6, 'closed'],
    [7, 6, 'open'],
    [1, 100, 'closed'],
  ] as const)('after %i failures and %i successes is %s', (failed, done, state) => {
    const scene = new Scene().observe(failed, done)
    expect(scene.breaker.stateOf(message())).toBe(state)
    expect(scene.check().allowed).toBe(state === 'closed')
    expect(scene.check('other').allowed).toBe(true)
  })

  it('forgets a past window', () => {
    const scene = new Scene().observe(10, 0)
    scene.clock.advance(10_000)
    scene.observe(10, 0)
    expect(scene.breaker.stateOf(message())).toBe('closed')
    scene.observe(1, 0)
    expect(scene.breaker.stateOf(message())).toBe('open')
  })

  it('lets one message at a time try after a while; success closes it, failure opens it again', () => {
    const scene = new Scene().observe(11, 0)
    expect(scene.check()).toEqual({
      ...{ allowed: false, outcome: 'retry', reason: 'handler_failing', rule: 'breaker' },
      retryAfterMs: 5_000,
    })
    scene.clock.advance(4_999)
    expect(scene.check().retryAfterMs).toBe(1)
    scene.clock.advance(1)
    expect([scene.check().allowed, scene.check().allowed]).toEqual([true, false])
    scene.observe(1, 0)
    expect(scene.breaker.stateOf(message())).toBe('open')
    // What passed before it opened and comes late says nothing.
    scene.observe(0, 3)
    expect(scene.breaker.stateOf(message())).toBe('open')
    scene.clock.advance(5_000)
    expect(scene.check().allowed).toBe(true)
    scene.observe(0, 1)
    expect(scene.breaker.stateOf(message())).toBe('closed')
    expect([scene.check().allowed, scene.check().allowed]).toEqual([true, true])
  })

  it('gives up a trial without a result', () => {
    const scene = new Scene().observe(11, 0)
    scene.clock.advance(5_000)
    expect([scene.check().allowed, scene.check().retryAfterMs]).toEqual([true, 5_000])
    scene.clock.advance(5_000)
    expect(scene.check().allowed).toBe(true)
  })

  it('bounds its keys and forgets the least recent ones', () => {
    const scene = new Scene().observe(11, 0, 'first')
    for (let n = 1; n < MAX_SIZES.breakerKeys; n++) scene.observe(1, 0, `t${n}`)
    expect(scene.breaker.stats()).toEqual({ keys: MAX_SIZES.breakerKeys, open: 1 })
    scene.observe(1, 0, 'one-more')
    expect(scene.breaker.stats()).toEqual({ keys: MAX_SIZES.breakerKeys, open: 0 })
    expect(scene.check('first').allowed).toBe(true)
  })

  it('uses one key for messages whose key cannot be computed', () => {
    const scene = new Scene({
      keyOf: () => {
        throw new Error('no key')
      },
    }).observe(11, 0, 'a')
    expect(scene.check('b').allowed).toBe(false)
    expect(new Scene().observe(11, 0, '__proto__').check('__proto__').allowed).toBe(false)
  })

  it.each([{ failures: 0 }, { failures: 1 }, { least: 0 }, { windowMs: 0 }, { openMs: Number.NaN }])(
    'refuses %o',
    options => {
      expect(() => circuitBreaker(options)).toThrow(expect.objectContaining({ code: 'TOPICGATE_POLICY' }))
    },
  )
})
