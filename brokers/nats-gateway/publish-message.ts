import { NO_HEADERS, readHeaderBlock } from '../../src/broker-support/nats-header-block.ts'
import type { FieldPath } from '../../src/core/field-path.ts'
import type { Message, MessageHeaders, Operation, Sender } from '../../src/core/message.ts'
import { PayloadReader } from '../../src/core/parse-payload.ts'
import type { LineTokens } from './line-tokens.ts'
import { encodePublish } from './write-lines.ts'

/** Bytes behind a payload. */
export const LINE_END_BYTES = 2

/** Places in a PUB, HPUB, MSG or HMSG. One object per direction of a connection, filled anew for each message. */
export class MessageLayout {
  subjectStart = 0
  subjectEnd = 0
  /** Both 0 if there is no reply subject. */
  replyStart = 0
  replyEnd = 0
  /** Bytes of the headers; 0 if there are none. */
  headerBytes = 0

  /** Takes the places of a PUB without reply. */
  setPlainPub(subjectStart: number, subjectEnd: number): void {
    this.subjectStart = subjectStart
    this.subjectEnd = subjectEnd
    this.replyStart = 0
    this.replyEnd = 0
    this.headerBytes = 0
  }

  /**
   * Reads the tokens of a line. `plainTokens` is the number of tokens of a line without reply and headers. Returns false if
   * the line is malformed.
   */
  read(
    bytes: Buffer,
    tokens: LineTokens,
    plainTokens: number,
    hasHeaders: boolean,
    sizeBytes: number,
  ): boolean {
    const replies = tokens.count - plainTokens - (hasHeaders ? 1 : 0)
    if (replies !== 0 && replies !== 1) return false
    this.subjectStart = tokens.startOf(1)
    this.subjectEnd = tokens.endOf(1)
    // The reply subject comes before the sizes.
    this.replyStart = replies === 0 ? 0 : tokens.startOf(plainTokens - 1)
    this.replyEnd = replies === 0 ? 0 : tokens.endOf(plainTokens - 1)
    this.headerBytes = hasHeaders ? tokens.numberOf(bytes, tokens.count - 2) : 0
    return this.headerBytes >= 0 && this.headerBytes <= sizeBytes
  }
}

/** A message of NATS in its bytes, for the gate. The bytes are a part of the received chunk until it is held. */
export class PublishMessage implements Message {
  declare readonly topic: string
  declare readonly on: Operation
  declare readonly sender: Sender
  /** Payload bytes without headers. */
  declare readonly size: number
  declare private readonly headerBytes: number
  declare private bytesOfMessage: Buffer
  declare private start: number
  declare private replyStart: number
  declare private replyEnd: number
  declare private body: number
  declare private reader: PayloadReader | undefined
  declare private readHeaders: MessageHeaders | undefined
  /** True once its decision was enacted. */
  declare isEnacted: boolean

  constructor(
    on: Operation,
    sender: Sender,
    topic: string,
    bytes: Buffer,
    start: number,
    body: number,
    end: number,
    layout: MessageLayout,
  ) {
    const { headerBytes, replyStart, replyEnd } = layout
    this.topic = topic
    this.on = on
    this.sender = sender
    this.size = end - LINE_END_BYTES - body - headerBytes
    this.headerBytes = headerBytes
    this.bytesOfMessage = bytes
    this.start = start
    this.replyStart = replyStart
    this.replyEnd = replyEnd
    this.body = body
    this.reader = undefined
    this.readHeaders = undefined
    this.isEnacted = false
  }

  get protocol(): 'nats' {
    return 'nats'
  }

  /** Reply subject; empty if there is none. */
  get reply(): string {
    return this.bytesOfMessage.toString('utf8', this.replyStart, this.replyEnd)
  }

  get headers(): MessageHeaders {
    this.readHeaders ??= this.headerBytes === 0 ? NO_HEADERS : readHeaderBlock(this.headerBlock)
    return this.readHeaders
  }

  /** Undefined while the message is incomplete. */
  payload(): unknown {
    if (!this.isWhole) return undefined
    this.reader ??= new PayloadReader()
    return this.reader.parse(this.bytes(), this.size)
  }

  payloadField(path: FieldPath): unknown {
    if (!this.isWhole) return undefined
    this.reader ??= new PayloadReader()
    return this.reader.readField(this.bytes(), this.size, path)
  }

  bytes(): Buffer {
    const start = this.body + this.headerBytes
    return this.bytesOfMessage.subarray(start, start + this.size)
  }

  private get headerBlock(): Buffer {
    return this.bytesOfMessage.subarray(this.body, this.body + this.headerBytes)
  }

  private get isWhole(): boolean {
    return this.end <= this.bytesOfMessage.length
  }

  private get end(): number {
    return this.body + this.headerBytes + this.size + LINE_END_BYTES
  }

  /** Copies the message out of the chunk, which it would keep in memory while it waits. */
  detach(): void {
    const copy = Buffer.allocUnsafeSlow(this.end - this.start)
    this.bytesOfMessage.copy(copy, 0, this.start, this.end)
    this.body -= this.start
    if (this.replyEnd > 0) {
      this.replyStart -= this.start
      this.replyEnd -= this.start
    }
    this.bytesOfMessage = copy
    this.start = 0
  }

  /** Returns the line and the payload as they were received. */
  encode(): Buffer {
    return this.bytesOfMessage.subarray(this.start, this.end)
  }

  /** Returns a PUB or HPUB with changes. Headers keep their order; `added` ones stand last. */
  encodeAs(changes: PublishChanges): Buffer {
    return encodePublish({
      subject: changes.subject ?? this.topic,
      reply: this.reply,
      payload: changes.payload ?? this.bytes(),
      headerBlock: this.headerBlock,
      isRedirected: changes.subject !== undefined,
      added: changes.added,
    })
  }
}

export interface PublishChanges {
  readonly subject?: string | undefined
  readonly payload?: Uint8Array | undefined
  /** Empty if the server has no headers. */
  readonly added: Readonly<Record<string, string>>
}
