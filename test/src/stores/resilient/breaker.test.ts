import { beforeEach, describe, expect, it } from 'vitest'
import { Breaker } from '../../../../src/stores/resilient/breaker.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

let clock: FakeClock
let breaker: Breaker
let changes: string[]

beforeEach(() => {
  clock = new FakeClock()
  changes = []
  const onChange = (state: string): number => changes.push(state)
  breaker = new Breaker({ threshold: 3, recoveryMs: 60_000, clock, onChange })
})

function fail(times: number, later = true): void {
  for (let time = 0; time < times; time++) breaker.fail(breaker.admit() ?? -1, later, 'broken')
}

describe('a breaker', () => {
  it('opens at the third failure in a row, and not when one in between went well', () => {
    fail(2)
    breaker.succeed(breaker.admit()!, true)
    fail(2)
    expect(breaker.state).toBe('closed')
    fail(1)
    expect(breaker.state).toBe('open')
    expect(breaker.admit()).toBeUndefined()
    expect(changes).toEqual(['open'])
  })

  it('lets one through at a time once it is half open, whose success closes it', () => {
    fail(3)
    clock.advance(59_999)
    expect(breaker.state).toBe('open')
    clock.advance(1)
    expect(breaker.state).toBe('half-open')
    const probe = breaker.admit()
    expect(probe).toBeDefined()
    expect(breaker.admit()).toBeUndefined()
    breaker.succeed(probe!, true)
    expect(breaker.state).toBe('closed')
    expect(changes).toEqual(['open', 'half-open', 'closed'])
    expect(clock.pending).toBe(0)
  })

  it('opens anew for the whole time when the one fails', () => {
    fail(3)
    clock.advance(60_000)
    fail(1)
    expect(breaker.state).toBe('open')
    clock.advance(59_999)
    expect(breaker.state).toBe('open')
    clock.advance(1)
    expect(breaker.state).toBe('half-open')
  })

  it('hears nothing from what was asked before it turned', () => {
    const old = breaker.admit()!
    fail(3)
    clock.advance(60_000)
    breaker.succeed(old, true)
    breaker.fail(old, true, 'late')
    expect(breaker.state).toBe('half-open')
    expect(breaker.admit()).toBeDefined()
  })

  it('learns nothing from an answer given at once where failures came later', () => {
    fail(2)
    breaker.succeed(breaker.admit()!, false)
    fail(1)
    expect(breaker.state).toBe('open')
    clock.advance(60_000)
    breaker.succeed(breaker.admit()!, false)
    expect(breaker.state).toBe('half-open')
    breaker.succeed(breaker.admit()!, true)
    expect(breaker.state).toBe('closed')
    fail(2, false)
    breaker.succeed(breaker.admit()!, false)
    fail(2, false)
    expect(breaker.state).toBe('closed')
  })

  it('may be half opened before its time, and leaves no timer behind', () => {
    breaker.tryAgain()
    expect(breaker.state).toBe('closed')
    fail(3)
    breaker.tryAgain()
    expect(breaker.state).toBe('half-open')
    expect(clock.pending).toBe(0)
    fail(1)
    expect(clock.pending).toBe(1)
    breaker.close()
    expect(clock.pending).toBe(0)
  })
})
