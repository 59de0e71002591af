import { describe, expect, it } from 'vitest'
import { FIXED_HEADER } from '../../../brokers/mqtt-gateway/fixed-header.ts'
import { encodePacket } from '../../../brokers/mqtt-gateway/write-packets.ts'
import {
  PASS,
  type PacketHandler,
  type PacketProblem,
  type PacketVerdict,
  PacketWalker,
  SKIP,
  STOP,
} from '../../../src/gateway/packet-walker.ts'
import { random } from '../../support/random.ts'

type Decide = (packet: Buffer, isComplete: boolean, body: number) => PacketVerdict

/** Records what a walker forwards and decides. */
class Recorder implements PacketHandler {
  readonly decided: string[] = []
  readonly problems: PacketProblem[] = []
  readonly #forwarded: Buffer[] = []
  readonly #decide: Decide

  constructor(decide: Decide) {
    this.#decide = decide
  }

  get forwarded(): Buffer {
    return Buffer.concat(this.#forwarded)
  }

  get writes(): number {
    return this.#forwarded.length
  }

  decidePacket(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    const packet = bytes.subarray(start, end)
    const verdict = this.#decide(packet, bytes.length >= end, body - start)
    if (verdict <= 0) this.decided.push(`${packet[0]! >> 4}:${end - start}`)
    return verdict
  }

  forward(bytes: Buffer): void {
    this.#forwarded.push(bytes)
  }

  onProblem(problem: PacketProblem): void {
    this.problems.push(problem)
  }
}

function packetOf(type: number, bytes: number): Buffer {
  return encodePacket(type << 4, Buffer.alloc(bytes, type))
}

const isOdd = (packet: Buffer): boolean => ((packet[0]! >> 4) & 1) === 1

describe('a packet walker', () => {
  it('forwards neighbouring packets as one slice of the chunk', () => {
    const recorder = new Recorder(() => PASS)
    const chunk = Buffer.concat([packetOf(3, 10), packetOf(3, 200), packetOf(12, 0)])
    new PacketWalker(recorder, FIXED_HEADER, 1_000).write(chunk)
    expect(recorder.decided).toEqual(['3:12', '3:203', '12:2'])
    expect(recorder.writes).toBe(1)
    expect(recorder.forwarded.equals(chunk)).toBe(true)
  })

  it('streams a long packet without waiting for its end', () => {
    const recorder = new Recorder(() => PASS)
    const walker = new PacketWalker(recorder, FIXED_HEADER, 100_000)
    const packet = packetOf(3, 50_000)
    walker.write(packet.subarray(0, 10))
    expect(recorder.forwarded).toHaveLength(10)
    expect(walker.isBetweenPackets).toBe(false)
    walker.write(packet.subarray(10))
    expect(recorder.forwarded.equals(packet)).toBe(true)
    expect(walker.isBetweenPackets).toBe(true)
  })

  it('returns the bytes from the packet at which the handler stops', () => {
    const recorder = new Recorder(packet => (packet[0]! >> 4 === 8 ? STOP : PASS))
    const rest = Buffer.concat([packetOf(8, 5), packetOf(3, 5)])
    const unread = new PacketWalker(recorder, FIXED_HEADER, 1_000).write(
      Buffer.concat([packetOf(3, 5), rest]),
    )
    expect(unread?.equals(rest)).toBe(true)
    expect(recorder.forwarded.equals(packetOf(3, 5))).toBe(true)
  })

  it('forwards earlier packets first when it is flushed', () => {
    const order: string[] = []
    const walker: PacketWalker = new PacketWalker(
      {
        decidePacket: bytes => {
          walker.flush()
          order.push('own')
          return bytes.length > 0 ? PASS : STOP
        },
        forward: bytes => order.push(`forward ${bytes.length}`),
        onProblem: () => {},
      },
      FIXED_HEADER,
      1_000,
    )
    walker.write(Buffer.concat([packetOf(3, 5), packetOf(3, 6)]))
    expect(order).toEqual(['own', 'forward 7', 'own', 'forward 8'])
  })

  it.each([
    ['malformed', Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 1])],
    ['too large', packetOf(3, 2_000)],
  ])('reports a packet that is %s', (problem, packet) => {
    for (let at = 1; at < Math.min(packet.length, 7); at++) {
      const recorder = new Recorder(() => PASS)
      const walker = new PacketWalker(recorder, FIXED_HEADER, 1_000)
      walker.write(packet.subarray(0, at))
      walker.write(packet.subarray(at))
      expect(recorder.problems).toEqual([problem])
      expect(recorder.forwarded).toHaveLength(0)
    }
  })

  it('decides a packet in many chunks once it has the bytes that it needs', () => {
    const packet = packetOf(3, 900_000)
    const recorder = new Recorder((_packet, isComplete) => (isComplete ? PASS : 900_004))
    const walker = new PacketWalker(recorder, FIXED_HEADER, 1_000_000)
    for (let at = 0; at < packet.length; at += 100) {
      walker.write(packet.subarray(at, at + 100))
    }
    expect(recorder.decided).toEqual(['3:900004'])
    expect(recorder.forwarded.equals(packet)).toBe(true)
  })
})

it('decides and forwards the same packets wherever the bytes are split', () => {
  const { int, next, chance } = random(1_905)
  const decide: Decide = (packet, isComplete, body) => {
    const type = packet[0]! >> 4
    if (type === 8 && !isComplete) return body + remainingBytes(packet, body)
    return isOdd(packet) ? PASS : SKIP
  }
  for (let round = 0; round < 300; round++) {
    const packets = Array.from({ length: int(1, 12) }, () =>
      packetOf(int(1, 15), Math.floor(next() ** 4 * 20_000)),
    )
    const stream = Buffer.concat(packets)
    const recorder = new Recorder(decide)
    const walker = new PacketWalker(recorder, FIXED_HEADER, 100_000)
    for (let at = 0; at < stream.length; ) {
      const bytes = 1 + Math.floor(next() ** 3 * (chance(0.3) ? 5 : 30_000))
      expect(walker.write(stream.subarray(at, at + bytes))).toBeUndefined()
      at += bytes
    }
    expect(recorder.decided).toEqual(packets.map(packet => `${packet[0]! >> 4}:${packet.length}`))
    expect(recorder.forwarded.equals(Buffer.concat(packets.filter(isOdd)))).toBe(true)
    expect(walker.isBetweenPackets).toBe(true)
  }
})

/** Returns the remaining length, which ends before `body`. */
function remainingBytes(packet: Buffer, body: number): number {
  let length = 0
  for (let at = 1, shift = 0; at < body; at++, shift += 7) length += (packet[at]! & 0x7f) << shift
  return length
}
