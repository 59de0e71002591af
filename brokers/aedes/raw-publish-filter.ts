import type { Decision } from '../../src/core/decision.ts'
import type { MaybePromise, Message, Sender } from '../../src/core/message.ts'
import { RawMessage } from './message.ts'

/** First bytes of a PUBLISH of QoS 0 that is not marked as sent again, without and with retain [MQTT-3.3.1]. */
const PUBLISH = 0x30
const PUBLISH_RETAINED = 0x31

/** What aedes' parser (mqtt-packet) knows of the bytes it was given; not in its types, so read with care. */
export interface ParserState {
  readonly error?: unknown
  readonly packet?: { readonly length?: number | undefined } | null | undefined
  readonly _stateCounter?: number | undefined
  readonly _list?: { readonly length?: number | undefined } | undefined
  parse?(bytes: Buffer): unknown
}

/** What a skim needs of its connection. */
export interface RawFilterHost {
  readonly parser: ParserState | undefined
  readonly sender: Sender
  /** Nothing earlier of this connection is undecided, and whoever else wants to see each packet has agreed. */
  mayDecide(): boolean
  ask(message: Message): MaybePromise<Decision>
  /** Counts and enacts a refusal. */
  refuse(message: Message, decision: Decision): void
  /** Packets have come, though aedes sees none of them. */
  onAlive(): void
}

/**
 * Decides the QoS 0 publishes of a sender that is being refused from their bytes, before aedes parses them: each is
 * asked about, counted and told like any other, but a broker flooded
 * far over its limits spends 0.94 µs a message in place of 12.7, reading and the few deliveries included. What passes is
 * handed to aedes with its decision. It stops at the first packet that is anything else, so decisions keep the order
 * of the bytes; where packets begin is read off aedes' parser at each chunk, so nothing is kept between chunks, and
 * senders that behave cost nothing. Nothing is given back to the stream, which would fetch more meanwhile.
 */
export class RawPublishFilter {
  readonly #on: RawFilterHost
  #topic = ''
  #bytes: Buffer = Buffer.alloc(0)
  /** Of the packets that aedes is about to parse, in their order. */
  readonly #decisions: MaybePromise<Decision>[] = []

  constructor(on: RawFilterHost) {
    this.#on = on
  }

  /** A publish on this topic was refused: the next ones may be too. */
  expect(topic: string): void {
    if (topic === this.#topic) return
    this.#topic = topic
    this.#bytes = Buffer.from(topic)
  }

  /** Returns the decision already made and charged for the packet aedes parses next, if there is one; once. */
  takeDecision(): MaybePromise<Decision> | undefined {
    return this.#decisions.length === 0 ? undefined : this.#decisions.shift()
  }

  /** Returns the part of a chunk that aedes is to parse now, or null for nothing. */
  filterChunk(chunk: Buffer): Buffer | null {
    const { parser } = this.#on
    const begun = bytesUntilPacket(parser)
    if (begun === undefined || begun >= chunk.length || !this.#on.mayDecide()) return chunk
    if (begun === 0) return this.#siftPackets(chunk)
    // The packet under way is decided before those behind it.
    parser!.parse!(chunk.subarray(0, begun))
    const rest = chunk.subarray(begun)
    return bytesUntilPacket(parser) === 0 && this.#on.mayDecide() ? this.#siftPackets(rest) : rest
  }

  /** Decides publishes from the start of a chunk on, up to the first packet that is not decided from its bytes. */
  #siftPackets(chunk: Buffer): Buffer | null {
    const kept: Buffer[] = []
    let at = 0
    // What passes is contiguous from here.
    let keptFrom = 0
    for (;;) {
      const end = this.#endOfMatch(chunk, at)
      if (end === 0) break
      const message = new RawMessage(
        this.#on.sender,
        this.#topic,
        chunk,
        end - this.#size,
        end,
        chunk[at]! & 1,
      )
      const decision = this.#on.ask(message)
      if (isDropped(decision)) {
        if (keptFrom < at) kept.push(chunk.subarray(keptFrom, at))
        keptFrom = end
        this.#on.refuse(message, decision)
      } else {
        this.#decisions.push(decision)
        // Anything else than a delivery at once may change what may be decided next.
        if (!passes(decision)) break
      }
      at = end
    }
    if (at === 0 && keptFrom === 0) return chunk
    this.#on.onAlive()
    if (keptFrom < chunk.length) kept.push(chunk.subarray(keptFrom))
    if (kept.length === 0) return null
    return kept.length === 1 ? kept[0]! : Buffer.concat(kept)
  }

  /** Payload bytes of the last match. */
  #size = 0

  /** Where the whole publish on the expected topic that begins at `at` ends; 0 where there is none. */
  #endOfMatch(chunk: Buffer, at: number): number {
    if (at >= chunk.length) return 0
    const first = chunk[at]
    if (first !== PUBLISH && first !== PUBLISH_RETAINED) return 0
    // Remaining length: seven bits a byte, four bytes at the most [MQTT-2.2.3].
    let place = at + 1
    let length = 0
    for (let shift = 0; ; shift += 7, place++) {
      if (shift > 21 || place >= chunk.length) return 0
      const byte = chunk[place]!
      length += (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    place++
    const end = place + length
    const topic = this.#bytes
    const topicBytes = topic.length
    if (topicBytes === 0 || end > chunk.length || length < topicBytes + 2) return 0
    if (((chunk[place]! << 8) | chunk[place + 1]!) !== topicBytes) return 0
    place += 2
    // A loop: up to some hundred bytes it is faster than a call of Buffer's own comparison.
    for (let index = 0; index < topicBytes; index++) if (chunk[place + index] !== topic[index]) return 0
    this.#size = length - 2 - topicBytes
    return end
  }
}

function isDropped(decision: MaybePromise<Decision>): decision is Decision {
  const { outcome } = decision as Decision
  return outcome === 'drop' || outcome === 'reject'
}

function passes(decision: MaybePromise<Decision>): boolean {
  return (decision as Decision).outcome === 'deliver'
}

/** Whether a packet is being told right now: the parser's last step, during which all of aedes runs. */
export function isTelling(parser: ParserState | undefined): boolean {
  return parser?._stateCounter === 3
}

/** Bytes that belong to the packet the parser has begun; undefined where that cannot be told, or while it runs. */
function bytesUntilPacket(parser: ParserState | undefined): number | undefined {
  const listed = parser?._list?.length
  if (parser?.parse === undefined || parser.error || listed === undefined) return undefined
  // 0: between packets; 2: first byte and length are read. At 1 (length) the rest of the chunk is left to aedes.
  if (parser._stateCounter === 0) return listed === 0 ? 0 : undefined
  if (parser._stateCounter !== 2) return undefined
  const missing = (parser.packet?.length ?? -1) - listed
  return missing > 0 ? missing : undefined
}
