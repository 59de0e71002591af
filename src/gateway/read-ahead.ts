import {
  PASS,
  type PacketHandler,
  type PacketHeader,
  type PacketProblem,
  type PacketVerdict,
  PacketWalker,
} from './packet-walker.ts'

/** Decides about packets that arrive while earlier ones wait. */
export interface OvertakeDecider {
  /** Returns SKIP if the packet was handled at once, PASS if it has to wait, or the number of bytes that it needs. */
  overtake(bytes: Buffer, start: number, body: number, end: number): PacketVerdict
  onProblem(problem: PacketProblem): void
}

/**
 * Bytes of a connection that was read on while an earlier packet waits. Packets that need not wait are taken out of
 * them: a keepalive, which would be stuck behind a held publish, and acknowledgements.
 */
export class ReadAhead implements PacketHandler {
  readonly #decider: OvertakeDecider
  readonly #walker: PacketWalker
  #chunks: Buffer[] = []
  #bytes = 0
  isActive = false

  constructor(decider: OvertakeDecider, header: PacketHeader, maxPacketBytes: number) {
    this.#decider = decider
    this.#walker = new PacketWalker(this, header, maxPacketBytes)
  }

  get sizeBytes(): number {
    return this.#bytes
  }

  /** Number of times that {@link shift} returns bytes of whole packets. */
  get chunkCount(): number {
    return this.#chunks.length
  }

  /** Begins with bytes that start a packet. */
  start(bytes: Buffer): void {
    this.isActive = true
    this.#walker.reset()
    this.append(bytes)
  }

  append(bytes: Buffer): void {
    this.#walker.write(bytes)
  }

  /** Removes and returns the oldest bytes. The last ones are the start of an incomplete packet. */
  shift(): Buffer | undefined {
    const chunk = this.#chunks.shift()
    if (chunk !== undefined) {
      this.#bytes -= chunk.length
      return chunk
    }
    this.isActive = false
    return this.#walker.takeStart()
  }

  /** Puts bytes back in front. */
  unshift(bytes: Buffer): void {
    this.#chunks.unshift(bytes)
    this.#bytes += bytes.length
  }

  decidePacket(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    return this.isActive ? this.#decider.overtake(bytes, start, body, end) : PASS
  }

  forward(bytes: Buffer): void {
    this.#chunks.push(bytes)
    this.#bytes += bytes.length
  }

  onProblem(problem: PacketProblem): void {
    this.#decider.onProblem(problem)
  }
}
