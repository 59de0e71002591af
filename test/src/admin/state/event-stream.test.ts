import { describe, expect, it } from 'vitest'
import { EventStream } from '../../../../src/admin/state/event-stream.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

const TICKS = new Set(['tick'] as const)

/** Returns the numbers in the data of events, and those that were lost. */
function readNumbers(text: string | undefined): {
  readonly numbers: readonly number[]
  readonly lost: readonly unknown[]
} {
  const frames = (text ?? '').split('\n\n').filter(frame => frame.includes('data: '))
  const data = (frame: string): Record<string, unknown> =>
    JSON.parse(frame.split('data: ')[1]!) as Record<string, unknown>
  return {
    numbers: frames.filter(frame => frame.includes('event: tick')).map(frame => data(frame).n as number),
    lost: frames.filter(frame => frame.includes('event: lost')).map(frame => data(frame).count),
  }
}

describe('an event stream', () => {
  it('sends each reader the types that it asked for, in order', async () => {
    const stream = new EventStream(new FakeClock(1_000))
    const reader = stream.read(TICKS)
    stream.publish('tick', { n: 1 })
    stream.publish('audit', { n: 2 })
    stream.publish('tick', { n: 3 })
    const text = await reader.next()
    expect(text).toContain('id: 1001\nevent: tick\ndata: {"n":1}\n\n')
    expect(readNumbers(text)).toEqual({ numbers: [1, 3], lost: [] })
  })

  it('resumes after an event, and says how many are lost', async () => {
    const stream = new EventStream(new FakeClock(1_000))
    for (let n = 1; n <= MAX_SIZES.adminEvents + 5; n++) stream.publish('tick', { n })
    const resumed = readNumbers(await stream.read(TICKS, 1_000 + MAX_SIZES.adminEvents).next())
    expect(resumed).toEqual({ numbers: [1, 2, 3, 4, 5].map(n => MAX_SIZES.adminEvents + n), lost: [] })
    const late = readNumbers(await stream.read(TICKS, 1_002).next())
    expect([late.numbers.length, late.lost]).toEqual([MAX_SIZES.adminEvents, [3]])
    const ofEarlierProcess = readNumbers(await stream.read(TICKS, 500).next())
    expect(ofEarlierProcess.lost).toEqual([null])
  })

  it('drops the oldest events of a reader that does not read; another loses none', async () => {
    const stream = new EventStream(new FakeClock())
    const frozen = stream.read(TICKS)
    const reader = stream.read(TICKS)
    const read: number[] = []
    const most = MAX_SIZES.adminQueuedEvents
    for (let n = 1; n <= most + 10; n++) {
      stream.publish('tick', { n })
      read.push(...readNumbers(await reader.next()).numbers)
    }
    expect(read).toEqual(Array.from({ length: most + 10 }, (_, index) => index + 1))
    const { numbers, lost } = readNumbers(await frozen.next())
    expect([numbers.length, numbers[0], lost]).toEqual([most, 11, [10]])
  })

  it('keeps connections alive, and ends all readers when it is closed', async () => {
    const clock = new FakeClock()
    const stream = new EventStream(clock)
    const reader = stream.read(TICKS)
    clock.advance(15_000)
    expect(await reader.next()).toBe(': keep-alive\n\n')
    const waiting = reader.next()
    stream.close()
    expect(await waiting).toBeUndefined()
    expect(stream.readers).toBe(0)
  })
})
