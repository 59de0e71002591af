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

function recordFailure(times: number, isAsync = true): void {
  for (let time = 0; time < times; time++) breaker.recordFailure(breaker.admit() ?? -1, isAsync, 'broken')
}

describe('a breaker', () => {
  it('opens at the third consecutive failure, but not if a success came in between', () => {
    recordFailure(2)
    breaker.recordSuccess(breaker.admit()!, true)
    recordFailure(2)
    expect(breaker.state).toBe('closed')
    recordFailure(1)
    expect(breaker.state).toBe('open')
    expect(breaker.admit()).toBeUndefined()
    expect(changes).toEqual(['open'])
  })

  it('admits one request at a time when half-open; its success closes it', () => {
    recordFailure(3)
    clock.advance(59_999)
    expect(breaker.state).toBe('open')
    clock.advance(1)
    expect(breaker.state).toBe('half-open')
    const probe = breaker.admit()
    expect(probe).toBeDefined()
    expect(breaker.admit()).toBeUndefined()
    breaker.recordSuccess(probe!, true)
    expect(breaker.state).toBe('closed')
    expect(changes).toEqual(['open', 'half-open', 'closed'])
    expect(clock.pending).toBe(0)
  })

  it('opens again for the whole time if the probe fails', () => {
    recordFailure(3)
    clock.advance(60_000)
    recordFailure(1)
    expect(breaker.state).toBe('open')
    clock.advance(59_999)
    expect(breaker.state).toBe('open')
    clock.advance(1)
    expect(breaker.state).toBe('half-open')
  })

  it('ignores results of requests from before a state change', () => {
    const old = breaker.admit()!
    recordFailure(3)
    clock.advance(60_000)
    breaker.recordSuccess(old, true)
    breaker.recordFailure(old, true, 'late')
    expect(breaker.state).toBe('half-open')
    expect(breaker.admit()).toBeDefined()
  })

  it('ignores a synchronous answer if failures were asynchronous', () => {
    recordFailure(2)
    breaker.recordSuccess(breaker.admit()!, false)
    recordFailure(1)
    expect(breaker.state).toBe('open')
    clock.advance(60_000)
    breaker.recordSuccess(breaker.admit()!, false)
    expect(breaker.state).toBe('half-open')
    breaker.recordSuccess(breaker.admit()!, true)
    expect(breaker.state).toBe('closed')
    recordFailure(2, false)
    breaker.recordSuccess(breaker.admit()!, false)
    recordFailure(2, false)
    expect(breaker.state).toBe('closed')
  })

  it('can be half-opened ahead of time, and leaves no timer behind', () => {
    breaker.halfOpen()
    expect(breaker.state).toBe('closed')
    recordFailure(3)
    breaker.halfOpen()
    expect(breaker.state).toBe('half-open')
    expect(clock.pending).toBe(0)
    recordFailure(1)
    expect(clock.pending).toBe(1)
    breaker.close()
    expect(clock.pending).toBe(0)
  })
})
