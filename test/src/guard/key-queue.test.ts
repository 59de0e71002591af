import { describe, expect, it } from 'vitest'
import { PASSED } from '../../../src/core/decision.ts'
import { KeyQueue, type KeyQueueEntry, type SubQueue } from '../../../src/guard/key-queue.ts'
import { FakeClock } from '../../support/fake-clock.ts'

class Entry implements KeyQueueEntry<Entry> {
  previous: Entry | undefined
  next: Entry | undefined
  subQueue: SubQueue<Entry>
  readonly name: string

  constructor(name: string, subQueue: SubQueue<Entry>) {
    this.name = name
    this.subQueue = subQueue
  }
}

/** A queue of entries written as sender, rank and number, and the times at which it became ready. */
function createQueue(names: readonly string[]) {
  const clock = new FakeClock(0)
  const readyAtMs: number[] = []
  const queue = new KeyQueue<Entry>('k', PASSED, 0, clock, () => readyAtMs.push(clock.now()))
  const subQueueOf = (name: string) => queue.subQueueOf(name[0], Number(name[1]))
  const append = (name: string): void => queue.append(new Entry(name, subQueueOf(name)))
  for (const name of names) append(name)
  /** Takes all entries that have a turn. */
  const drain = (): string[] => {
    const taken: string[] = []
    for (let entry = queue.next(); entry; entry = queue.next()) {
      taken.push(entry.name)
      queue.passTurn(entry.subQueue)
      queue.remove(entry)
    }
    return taken
  }
  return { clock, queue, readyAtMs, subQueueOf, append, drain }
}

describe('a key queue', () => {
  it('takes the highest rank first, and the senders of a rank in turns', () => {
    const { drain, queue } = createQueue(['a31', 'a32', 'a33', 'b31', 'b32', 'c91', 'c01'])
    expect(queue.count).toBe(7)
    expect(drain()).toEqual(['c91', 'a31', 'b31', 'a32', 'b32', 'a33', 'c01'])
    expect(queue.count).toBe(0)
  })

  it('gives no turn to a sub-queue that sleeps, until its time is over', () => {
    const { clock, queue, drain, subQueueOf, readyAtMs } = createQueue(['a31', 'b31'])
    queue.putToSleep(subQueueOf('a3'), 50)
    expect(drain()).toEqual(['b31'])
    clock.advance(49)
    expect(drain()).toEqual([])
    clock.advance(1)
    expect(readyAtMs).toEqual([50])
    expect(drain()).toEqual(['a31'])
  })

  it('gives no turn to a blocked sub-queue, even if its sleep ends', () => {
    const { clock, queue, drain, subQueueOf, readyAtMs } = createQueue(['a31', 'b31'])
    queue.block(subQueueOf('a3'))
    queue.putToSleep(subQueueOf('a3'), 50)
    clock.advance(50)
    expect(drain()).toEqual(['b31'])
    queue.unblock(subQueueOf('a3'))
    expect(readyAtMs).toEqual([50, 50])
    expect(drain()).toEqual(['a31'])
  })

  it('ends all waits and sleeps when it is asked again', () => {
    const { clock, queue, drain, subQueueOf, readyAtMs } = createQueue(['a31', 'b31'])
    queue.putToSleep(subQueueOf('b3'), 50)
    queue.wait(1_000)
    expect(queue.isWaiting).toBe(true)
    queue.askAgain()
    expect(queue.isWaiting).toBe(false)
    expect(readyAtMs).toEqual([0])
    expect(drain()).toEqual(['a31', 'b31'])
    expect(clock.pending).toBe(0)
  })

  it('moves an entry behind those of another rank', () => {
    const { queue, drain, subQueueOf } = createQueue(['a31', 'a32', 'a91'])
    queue.move(queue.subQueueOf('a', 3).first!, subQueueOf('a9'))
    expect(drain()).toEqual(['a91', 'a31', 'a32'])
  })

  it('leaves no timer of a sub-queue that becomes empty', () => {
    const { clock, queue, subQueueOf } = createQueue(['a31'])
    queue.putToSleep(subQueueOf('a3'), 50)
    queue.remove(subQueueOf('a3').first!)
    expect(clock.pending).toBe(0)
  })
})
