import { PassThrough } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { PacketPipe } from '../../../src/gateway/packet-pipe.ts'
import { PASS, type PacketHeader, READ } from '../../../src/gateway/packet-walker.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** Packets of 64 bytes without a header. */
const HEADER: PacketHeader & { body: number; end: number } = {
  body: 0,
  end: 0,
  maxLineBytes: 0,
  read: (_bytes, start) => {
    HEADER.body = start
    HEADER.end = start + 64
    return READ
  },
}

it('a flooded socket is read once in a turn of the event loop, and a quiet one is not delayed', async () => {
  const decider = { decidePacket: () => PASS, overtake: () => PASS, onProblem: () => {} }
  const open = (): { input: PassThrough; pipe: PacketPipe } => {
    const input = new PassThrough({ highWaterMark: 1_000_000 })
    const stats = { paused: 0, pausedMs: 0 }
    const pipe = new PacketPipe(decider, HEADER, 1_000, new FakeClock(), stats)
    pipe.setInput(input)
    return { input, pipe }
  }
  const [flooded, quiet] = [open(), open()]
  const chunk = Buffer.alloc(65_536)
  for (let count = 0; count < 5; count++) flooded.input.write(chunk)
  quiet.input.write(chunk.subarray(0, 64))
  quiet.input.write(chunk.subarray(0, 64))
  const read: number[] = []
  while (flooded.pipe.receivedBytes < 5 * chunk.length) {
    await nextTurn()
    read.push(flooded.pipe.receivedBytes / chunk.length)
    expect(quiet.pipe.receivedBytes).toBe(128)
  }
  expect(read.slice(-4)).toEqual([2, 3, 4, 5])
  expect(flooded.pipe.isInputPaused).toBe(false)
})
