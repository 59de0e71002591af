import { EventEmitter } from 'node:events'
import { describe, expect, it } from 'vitest'
import { type ChannelPeer, ProcessChannel } from '../../../../src/cli/workers/process-channel.ts'

/** Two ends of a channel that copies messages, as one between processes. */
function openPair(): readonly [EventEmitter & ChannelPeer, EventEmitter & ChannelPeer] {
  const ends = [new EventEmitter(), new EventEmitter()] as const
  const withSend = (from: number): EventEmitter & ChannelPeer =>
    Object.assign(ends[from]!, {
      send: (message: object, callback: (error: Error | null) => void) => {
        const copy = structuredClone(message)
        setImmediate(() => ends[1 - from]!.emit('message', copy))
        callback(null)
      },
    })
  return [withSend(0), withSend(1)]
}

interface Adder {
  add(one: number, other: number): number
  fail(): Promise<never>
}

describe('a channel between processes', () => {
  it('calls functions of the other process, in both directions', async () => {
    const [here, there] = openPair()
    const adder: Adder = { add: (one, other) => one + other, fail: () => Promise.reject(new Error('broken')) }
    const first = new ProcessChannel<Adder, Adder>(here, adder)
    const second = new ProcessChannel<Adder, Adder>(there, adder)
    expect(await Promise.all([first.call('add', 1, 2), first.call('add', 3, 4)])).toEqual([3, 7])
    expect(await second.call('add', 5, 6)).toBe(11)
    await expect(first.call('fail')).rejects.toThrow('broken')
  })

  it('rejects waiting and later calls when the other process is gone', async () => {
    const [here] = openPair()
    const channel = new ProcessChannel<Adder, Record<never, never>>(here, {})
    const waiting = expect(channel.call('add', 1, 2)).rejects.toMatchObject({ code: 'TOPICGATE_STORE' })
    here.emit('disconnect')
    await waiting
    await expect(channel.call('add', 1, 2)).rejects.toThrow('is gone')
  })
})
