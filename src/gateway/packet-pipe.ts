import type { Duplex } from 'node:stream'
import type { Clock } from '../core/clock.ts'
import {
  type PacketHandler,
  type PacketHeader,
  type PacketProblem,
  type PacketVerdict,
  PacketWalker,
  STOP,
} from './packet-walker.ts'
import { type OvertakeDecider, ReadAhead } from './read-ahead.ts'

/** Most bytes of one direction that are read while a packet waits. */
export const READ_AHEAD_BYTES = 65_536

/** Bytes that Node reads of a socket at once, if so many are there. */
const FULL_CHUNK_BYTES = 65_536

/** Unsent bytes of a socket from which on no more is read for it. */
const UNSENT_BYTES = 65_536

/** Decides about the packets of one direction. */
export interface PacketDecider extends OvertakeDecider {
  /** Decides about the packet that is next in order; see {@link PacketHandler}. */
  decidePacket(bytes: Buffer, start: number, body: number, end: number): PacketVerdict
  /** Called when so much waits that the socket is not read any more. */
  onReadAheadFull?(): void
}

/** Reason to leave packets unread. */
export type BlockReason = 'notOpen' | 'held' | 'queueFull' | 'window' | 'answers' | 'draining'

/** Reason to stop reading a socket. */
type PauseReason = 'outputFull' | 'answersFull' | 'readAheadFull'

/** Sockets of one side that are not read now, and the time that sockets were not read before. */
export interface PauseStats {
  paused: number
  pausedMs: number
}

/**
 * One direction of a connection: reads packets from a socket and writes those that pass to the other one, with packets
 * of the gateway between them. A socket is not read while the other one, or the answers to its own packets, back up.
 */
export class PacketPipe implements PacketHandler {
  #input: Duplex | undefined
  readonly #packets: PacketDecider
  readonly #walker: PacketWalker
  readonly #readAhead: ReadAhead
  readonly #clock: Clock
  readonly #pauseStats: PauseStats
  readonly #blocked = new Set<BlockReason>()
  readonly #paused = new Set<PauseReason>()
  #pausedSinceMs: number | undefined
  #output: Duplex | undefined
  /** Packets of the gateway that wait for the end of a forwarded one. */
  #inserts: Buffer[] = []
  #insertsBytes = 0
  #isWalking = false
  #isCorked = false
  /** True while other sockets are read first. */
  #isYielding = false
  #isClosed = false
  /** Number of waiting chunks that are still read after {@link drain}; undefined before it. */
  #lastChunks: number | undefined
  /** Bytes received. */
  receivedBytes = 0
  /** Time at which the last bytes arrived. */
  receivedAtMs: number
  /** The other direction of the connection. */
  reverse: PacketPipe | undefined

  constructor(
    packets: PacketDecider,
    header: PacketHeader,
    maxPacketBytes: number,
    clock: Clock,
    pauseStats: PauseStats,
  ) {
    this.#packets = packets
    this.#clock = clock
    this.#pauseStats = pauseStats
    this.receivedAtMs = clock.now()
    this.#walker = new PacketWalker(this, header, maxPacketBytes)
    this.#readAhead = new ReadAhead(packets, header, maxPacketBytes)
  }

  readonly #onData = (chunk: Buffer): void => this.#receive(chunk)

  /** Begins to read packets. */
  setInput(input: Duplex): void {
    this.#input = input
    input.on('data', this.#onData)
  }

  /** Connects the output, to which passed and inserted packets go. */
  setOutput(output: Duplex): void {
    this.#output = output
    output.on('drain', () => {
      this.#resume('outputFull')
      this.reverse?.resumeAfterAnswers()
    })
  }

  /** True while the socket is not read. */
  get isInputPaused(): boolean {
    return this.#paused.size > 0
  }

  /** True while the socket is not read because too much of it waits. */
  get isReadAheadFull(): boolean {
    return this.#paused.has('readAheadFull')
  }

  get isBlocked(): boolean {
    return this.#blocked.size > 0
  }

  /** True if packets wait unread, or an incomplete one was received. */
  get hasUnread(): boolean {
    return this.#readAhead.isActive
  }

  /** True if the rest of a packet has to come before it is decided. */
  get hasIncomplete(): boolean {
    return this.#walker.hasStart
  }

  /** Leaves the packets that follow unread. */
  block(reason: BlockReason): void {
    this.#blocked.add(reason)
  }

  /** Stops reading: packets that arrive from now on stay unread. Those that arrived before are still read. */
  drain(): void {
    this.#lastChunks = this.#readAhead.chunkCount
    if (this.#lastChunks === 0) this.block('draining')
  }

  unblock(reason: BlockReason): void {
    if (this.#blocked.delete(reason)) this.#continue()
  }

  isBlockedBy(reason: BlockReason): boolean {
    return this.#blocked.has(reason)
  }

  /** Sends a packet of the gateway to the output, between forwarded packets and in order. */
  insert(packet: Buffer): void {
    if (this.#output === undefined || this.#isClosed) return
    this.#walker.flush()
    if (!this.#walker.isBetweenPackets) {
      this.#inserts.push(packet)
      this.#insertsBytes += packet.length
      if (this.#insertsBytes >= UNSENT_BYTES) this.reverse?.pauseForAnswers()
      return
    }
    this.#cork(this.#output)
    if (this.#write(packet)) this.reverse?.pauseForAnswers()
  }

  /** Stops reading the socket until the answers to its packets are sent. */
  pauseForAnswers(): void {
    this.#pause('answersFull')
  }

  resumeAfterAnswers(): void {
    this.#resume('answersFull')
  }

  /** Stops reading and writing; bytes that still arrive are discarded. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#input?.off('data', this.#onData)
    this.#paused.clear()
    this.#countPause()
    this.#input?.resume()
  }

  decidePacket(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    if (this.#blocked.size > 0 || this.#isClosed) return STOP
    if (this.#inserts.length > 0) {
      this.#walker.flush()
      this.#writeInserts()
    }
    return this.#packets.decidePacket(bytes, start, body, end)
  }

  forward(bytes: Buffer): void {
    if (this.#write(bytes)) this.#pause('outputFull')
  }

  onProblem(problem: PacketProblem): void {
    this.#packets.onProblem(problem)
  }

  #receive(chunk: Buffer): void {
    this.receivedBytes += chunk.length
    this.receivedAtMs = this.#clock.now()
    if (this.#readAhead.isActive) this.#readAhead.append(chunk)
    else this.#walk(chunk)
    this.#continue()
    if (chunk.length >= FULL_CHUNK_BYTES) this.#yield()
  }

  /** Lets other sockets be read first. Why: Node reads a flooded one up to 32 times in a row, which is 2 MiB. */
  #yield(): void {
    if (this.#isYielding || this.#isClosed || this.isInputPaused) return
    this.#isYielding = true
    this.#input?.pause()
    setImmediate(() => {
      this.#isYielding = false
      if (!this.isInputPaused) this.#input?.resume()
    })
  }

  #walk(chunk: Buffer): void {
    this.#isWalking = true
    // The start of a packet and what follows it are two writes.
    if (this.#walker.hasStart && this.#output !== undefined) this.#cork(this.#output)
    const unread = this.#walker.write(chunk)
    this.#isWalking = false
    if (this.#isClosed) return
    if (unread !== undefined) {
      if (this.#readAhead.isActive) {
        this.#readAhead.unshift(unread)
        if (this.#lastChunks !== undefined) this.#lastChunks++
      } else this.#readAhead.start(unread)
    }
    if (this.#inserts.length > 0 && this.#walker.isBetweenPackets) this.#writeInserts()
  }

  /** Reads on where it stopped, unless it is blocked. */
  #continue(): void {
    // The walk in progress ends in a call of its own.
    if (this.#isWalking) return
    while (this.#readAhead.isActive && this.#blocked.size === 0 && !this.#isClosed) {
      const chunk = this.#readAhead.shift()
      if (this.#lastChunks !== undefined) this.#lastChunks--
      if (chunk !== undefined) this.#walk(chunk)
      if (this.#lastChunks === 0) this.block('draining')
    }
    if (this.#readAhead.isActive && this.#readAhead.sizeBytes >= READ_AHEAD_BYTES) {
      if (this.isReadAheadFull) return
      this.#pause('readAheadFull')
      this.#packets.onReadAheadFull?.()
    } else this.#resume('readAheadFull')
  }

  /** Writes to the output. Returns true if it backs up; its `drain` event follows. */
  #write(bytes: Buffer): boolean {
    const output = this.#output
    if (output === undefined || this.#isClosed || !output.writable) return false
    output.write(bytes)
    // A write of any size is over at once if the system takes it.
    return output.writableNeedDrain && output.writableLength >= UNSENT_BYTES
  }

  #writeInserts(): void {
    const inserts = this.#inserts
    this.#inserts = []
    this.#insertsBytes = 0
    this.reverse?.resumeAfterAnswers()
    for (const packet of inserts) this.insert(packet)
  }

  /** Collects the packets of one turn into one write to the socket. */
  #cork(output: Duplex): void {
    if (this.#isCorked) return
    this.#isCorked = true
    output.cork()
    process.nextTick(() => {
      this.#isCorked = false
      output.uncork()
    })
  }

  #pause(reason: PauseReason): void {
    if (this.#isClosed) return
    if (this.#paused.size === 0) {
      this.#pausedSinceMs = this.#clock.now()
      this.#pauseStats.paused++
      this.#input?.pause()
    }
    this.#paused.add(reason)
  }

  #resume(reason: PauseReason): void {
    if (!this.#paused.delete(reason) || this.#paused.size > 0) return
    this.#countPause()
    if (!this.#isYielding) this.#input?.resume()
  }

  #countPause(): void {
    if (this.#pausedSinceMs === undefined) return
    this.#pauseStats.paused--
    this.#pauseStats.pausedMs += this.#clock.now() - this.#pausedSinceMs
    this.#pausedSinceMs = undefined
  }
}
