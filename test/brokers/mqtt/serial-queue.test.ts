import { describe, expect, it } from 'vitest'
import { SerialQueue } from '../../../brokers/mqtt/serial-queue.ts'

describe('turns', () => {
  it('run what is quick at once, and one after another what takes its time', async () => {
    const ran: string[] = []
    const turns = new SerialQueue<string>(item => {
      ran.push(`${item} begins`)
      if (!item.startsWith('slow')) return undefined
      return Promise.resolve().then(() => void ran.push(`${item} ends`))
    })
    for (const item of ['quick', 'slow 1', 'slow 2', 'last']) turns.enqueue(item)
    expect(ran).toEqual(['quick begins', 'slow 1 begins'])
    const idle = new Promise<void>(resolve => turns.whenIdle(resolve))
    await idle
    expect(ran.slice(2)).toEqual(['slow 1 ends', 'slow 2 begins', 'slow 2 ends', 'last begins'])
    expect(turns.isIdle).toBe(true)
  })

  it('take a hundred thousand that wait, in order, and keep none of them', async () => {
    let next = 0
    const turns = new SerialQueue<number>(item => {
      expect(item).toBe(next++)
      return item === 0 ? Promise.resolve() : undefined
    })
    for (let item = 0; item < 100_000; item++) turns.enqueue(item)
    await new Promise<void>(resolve => turns.whenIdle(resolve))
    expect(next).toBe(100_000)
  })
})
