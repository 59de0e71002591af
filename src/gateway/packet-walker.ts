/** Forwards the packet, also its bytes that are still to come. */
export const PASS = 0
/** Discards the packet, also its bytes that are still to come. */
export const SKIP = -1
/** Leaves the packet and all behind it unread. */
export const STOP = -2

/** PASS, SKIP, STOP, or the number of bytes of the packet that have to be there before it is decided. */
export type PacketVerdict = number

export type PacketProblem = 'malformed' | 'too large'

export interface PacketHandler {
  /**
   * Decides about the packet from `start` to `end`, whose remaining bytes begin at `body`. `end` may exceed
   * `bytes.length`: then the packet is incomplete.
   */
  decidePacket(bytes: Buffer, start: number, body: number, end: number): PacketVerdict
  /** Forwards bytes of passed packets, as they came: a slice of the chunk or of the collected start of a packet. */
  forward(bytes: Buffer): void
  onProblem(problem: PacketProblem): void
}

/** The header is read. */
export const READ = 0
/** The header ends behind the next line feed, which is not there yet. */
export const NEEDS_LINE_END = -1
export const MALFORMED = -2
export const TOO_LARGE = -3

/** READ, NEEDS_LINE_END, MALFORMED, TOO_LARGE, or the number of bytes of the packet that the header needs. */
export type HeaderResult = number

/** Reads the headers of a protocol's packets, and keeps the last one. */
export interface PacketHeader {
  /** Start of the bytes behind the header, and end of the packet, which may be behind the received bytes. */
  readonly body: number
  readonly end: number
  /** Most bytes of a header that ends with a line. */
  readonly maxLineBytes: number
  /** Reads the header of the packet that begins at `start`. */
  read(bytes: Buffer, start: number): HeaderResult
}

/** First size of the buffer that collects the start of an incomplete packet. */
const FIRST_BYTES = 64

const LINE_FEED = 10

/**
 * Walks over the packets of one direction without decoding them. Neighbouring packets that pass are forwarded as one
 * slice of the received chunk. Only the start of a packet that is not decided yet is copied.
 */
export class PacketWalker {
  readonly #handler: PacketHandler
  readonly #header: PacketHeader
  readonly #maxPacketBytes: number
  /** Bytes of the current packet that are still to come, after it was decided. */
  #bodyLeft = 0
  #isSkipping = false
  /** True after a problem: where the next packet begins is unknown. */
  #isFailed = false
  /** Start of an incomplete packet: its buffer, the bytes in it, and the bytes it needs or NEEDS_LINE_END. */
  #start: Buffer | undefined
  #startBytes = 0
  #neededBytes = 0
  /** Chunk that is being walked, the start of the bytes to forward, and the start of the current packet. */
  #chunk: Buffer | undefined
  #runStart = 0
  #at = 0

  constructor(handler: PacketHandler, header: PacketHeader, maxPacketBytes: number) {
    this.#handler = handler
    this.#header = header
    this.#maxPacketBytes = maxPacketBytes
  }

  /** True if all bytes of the packets so far were forwarded or skipped. */
  get isBetweenPackets(): boolean {
    return this.#bodyLeft === 0
  }

  /** True if the start of an incomplete packet is kept. */
  get hasStart(): boolean {
    return this.#start !== undefined
  }

  /** Walks a chunk. Returns the unread bytes if the handler stopped. */
  write(chunk: Buffer): Buffer | undefined {
    if (this.#isFailed) return undefined
    let at = 0
    if (this.#start !== undefined) {
      const taken = this.#completeStart(chunk)
      if (typeof taken !== 'number') return taken
      if (taken === chunk.length) return undefined
      at = taken
    }
    const { length } = chunk
    this.#runStart = at
    if (this.#bodyLeft > 0) {
      const bodyBytes = Math.min(this.#bodyLeft, length - at)
      this.#bodyLeft -= bodyBytes
      at += bodyBytes
      if (this.#isSkipping) this.#runStart = at
    }
    this.#chunk = chunk
    const header = this.#header
    while (at < length) {
      this.#at = at
      const result = header.read(chunk, at)
      if (result !== READ) {
        if (result === MALFORMED || result === TOO_LARGE) return this.#fail(toProblem(result))
        this.#collectStart(chunk, at, result)
        break
      }
      const { end } = header
      if (end - at > this.#maxPacketBytes) return this.#fail('too large')
      const verdict = this.#handler.decidePacket(chunk, at, header.body, end)
      if (verdict > 0) {
        this.#collectStart(chunk, at, verdict)
        break
      }
      if (verdict === STOP) {
        this.flush()
        this.#chunk = undefined
        return chunk.subarray(at)
      }
      if (verdict === SKIP) {
        this.flush()
        this.#runStart = Math.min(end, length)
      }
      if (end > length) {
        this.#bodyLeft = end - length
        this.#isSkipping = verdict === SKIP
      }
      at = end
    }
    if (this.#start === undefined) this.#at = length
    this.flush()
    this.#chunk = undefined
    return undefined
  }

  /** Forwards the packets before the current one now, so that the owner can send a packet of its own behind them. */
  flush(): void {
    const chunk = this.#chunk
    if (chunk === undefined || this.#at <= this.#runStart) return
    const run = chunk.subarray(this.#runStart, this.#at)
    this.#runStart = this.#at
    this.#handler.forward(run)
  }

  /** Removes and returns the collected start of an incomplete packet. */
  takeStart(): Buffer | undefined {
    const start = this.#start?.subarray(0, this.#startBytes)
    this.#start = undefined
    return start
  }

  /** Forgets the current packet: the next bytes begin a packet. */
  reset(): void {
    this.#start = undefined
    this.#bodyLeft = 0
  }

  #fail(problem: PacketProblem): undefined {
    this.#isFailed = true
    this.flush()
    this.#chunk = undefined
    this.#handler.onProblem(problem)
  }

  #collectStart(chunk: Buffer, at: number, neededBytes: number): void {
    const bytes = chunk.length - at
    this.#start = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, bytes))
    chunk.copy(this.#start, 0, at)
    this.#startBytes = bytes
    this.#neededBytes = neededBytes
  }

  /** Adds bytes to the start of a packet until it is decided. Returns the bytes taken, or the unread ones. */
  #completeStart(chunk: Buffer): number | Buffer {
    let taken = 0
    for (;;) {
      const bytes = this.#countMissing(chunk, taken)
      this.#append(chunk, taken, bytes)
      taken += bytes
      const needed = this.#neededBytes
      const isLineOpen = needed === NEEDS_LINE_END && chunk[taken - 1] !== LINE_FEED
      if (isLineOpen ? this.#startBytes <= this.#header.maxLineBytes : this.#startBytes < needed) return taken
      const start = this.#start!.subarray(0, this.#startBytes)
      const header = this.#header
      const result = isLineOpen ? TOO_LARGE : header.read(start, 0)
      if (result !== READ) {
        if (result === MALFORMED || result === TOO_LARGE) return this.#failAtStart(toProblem(result), chunk)
        this.#neededBytes = result
        continue
      }
      const { end } = header
      if (end > this.#maxPacketBytes) return this.#failAtStart('too large', chunk)
      const verdict = this.#handler.decidePacket(start, 0, header.body, end)
      if (verdict > 0) {
        this.#neededBytes = verdict
        continue
      }
      this.#start = undefined
      if (verdict === STOP) return Buffer.concat([start, chunk.subarray(taken)])
      this.#bodyLeft = end - start.length
      this.#isSkipping = verdict === SKIP
      if (verdict === PASS) this.#handler.forward(start)
      return taken
    }
  }

  /** Returns the number of bytes of the chunk, from `from`, that the start of the packet needs. */
  #countMissing(chunk: Buffer, from: number): number {
    const available = chunk.length - from
    if (this.#neededBytes !== NEEDS_LINE_END) return Math.min(this.#neededBytes - this.#startBytes, available)
    const lineEnd = chunk.indexOf(LINE_FEED, from)
    return lineEnd < 0 ? available : lineEnd + 1 - from
  }

  #failAtStart(problem: PacketProblem, chunk: Buffer): number {
    this.#isFailed = true
    this.#start = undefined
    this.#handler.onProblem(problem)
    return chunk.length
  }

  #append(chunk: Buffer, from: number, bytes: number): void {
    const total = this.#startBytes + bytes
    let start = this.#start!
    if (total > start.length) {
      start = Buffer.allocUnsafeSlow(Math.max(total, Math.min(2 * start.length, this.#neededBytes)))
      this.#start!.copy(start, 0, 0, this.#startBytes)
      this.#start = start
    }
    chunk.copy(start, this.#startBytes, from, from + bytes)
    this.#startBytes = total
  }
}

function toProblem(result: typeof MALFORMED | typeof TOO_LARGE): PacketProblem {
  return result === MALFORMED ? 'malformed' : 'too large'
}
