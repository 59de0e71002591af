import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../../../src/cli/replay/virtual-clock.ts'

describe('VirtualClock', () => {
  it('shows the moment it was moved to, earlier ones too', () => {
    const clock = new VirtualClock(5)
    expect(clock.now()).toBe(5)
    clock.moveTo(1_000)
    expect(clock.now()).toBe(1_000)
    clock.moveTo(10)
    expect(clock.now()).toBe(10)
  })

  it('runs what has fallen due in order of time, and not a millisecond before', () => {
    const clock = new VirtualClock()
    const ran: string[] = []
    clock.after(20, () => ran.push('b'))
    clock.after(10, () => ran.push('a'))
    clock.after(21, () => ran.push('c'))
    clock.moveTo(9)
    expect(ran).toEqual([])
    clock.moveTo(20)
    expect(ran).toEqual(['a', 'b'])
    clock.moveTo(21)
    expect(ran).toEqual(['a', 'b', 'c'])
  })

  it('runs a repeated task once for a move, however far', () => {
    const clock = new VirtualClock()
    let runs = 0
    const again = (): void => {
      runs++
      clock.after(1, again)
    }
    clock.after(1, again)
    clock.moveTo(365 * 86_400_000)
    expect(runs).toBe(1)
    clock.moveTo(365 * 86_400_000 + 1)
    expect(runs).toBe(2)
  })

  it('does not run what was cancelled, also by what ran before it', () => {
    const clock = new VirtualClock()
    const ran: string[] = []
    const cancelSecond: { now: () => void } = { now: () => {} }
    clock.after(1, () => {
      ran.push('first')
      cancelSecond.now()
    })
    cancelSecond.now = clock.after(2, () => ran.push('second'))
    clock.after(3, () => ran.push('third'))()
    clock.moveTo(10)
    expect(ran).toEqual(['first'])
  })
})
