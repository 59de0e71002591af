import { describe, expect, it } from 'vitest'
import { FakeClock } from './fake-clock.ts'

describe('a fake clock', () => {
  it('keeps its time until it is advanced', () => {
    const clock = new FakeClock(1_000)
    expect(clock.now()).toBe(1_000)
    clock.advance(5)
    expect(clock.now()).toBe(1_005)
  })

  it('runs due timers in order of time, each at its own time, and keeps later ones', () => {
    const clock = new FakeClock(0)
    const ran: string[] = []
    for (const ms of [30, 10, 20, 41]) clock.after(ms, () => ran.push(`${ms} at ${clock.now()}`))
    clock.advance(40)
    expect(ran).toEqual(['10 at 10', '20 at 20', '30 at 30'])
    expect(clock.pending).toBe(1)
    expect(clock.now()).toBe(40)
  })

  it('runs timers of the same time in the order they were set', () => {
    const clock = new FakeClock(0)
    const ran: string[] = []
    for (const name of ['first', 'second', 'third']) clock.after(7, () => ran.push(name))
    clock.advance(7)
    expect(ran).toEqual(['first', 'second', 'third'])
  })

  it('runs a timer set by a timer if it becomes due in the same advance', () => {
    const clock = new FakeClock(0)
    const ranAtMs: number[] = []
    const again = (): void => {
      ranAtMs.push(clock.now())
      clock.after(10, again)
    }
    clock.after(10, again)
    clock.advance(35)
    expect(ranAtMs).toEqual([10, 20, 30])
    expect(clock.pending).toBe(1)
  })

  it('does not run a cancelled timer', () => {
    const clock = new FakeClock(0)
    const cancel = clock.after(10, () => expect.unreachable())
    cancel()
    cancel()
    expect(clock.pending).toBe(0)
    clock.advance(10)
  })

  it('can be set back, and every timer keeps its remaining wait', () => {
    const clock = new FakeClock(1_000)
    let ranAtMs: number | undefined
    clock.after(50, () => {
      ranAtMs = clock.now()
    })
    clock.set(400)
    expect(clock.now()).toBe(400)
    clock.advance(49)
    expect(ranAtMs).toBeUndefined()
    clock.advance(1)
    expect(ranAtMs).toBe(450)
  })

  it('refuses to advance backwards', () => {
    expect(() => new FakeClock(0).advance(-1)).toThrow('set() can go back')
  })

  it('settles promises between timers when it advances asynchronously', async () => {
    const clock = new FakeClock(0)
    const ran: string[] = []
    const wait = (ms: number): Promise<void> => new Promise(resolve => void clock.after(ms, resolve))
    const walk = async (): Promise<void> => {
      await wait(10)
      ran.push(`first ${clock.now()}`)
      await wait(10)
      ran.push(`second ${clock.now()}`)
    }
    const walked = walk()
    await clock.advanceAsync(25)
    await walked
    expect(ran).toEqual(['first 10', 'second 20'])
    expect(clock.now()).toBe(25)
  })
})
