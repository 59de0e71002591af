import { createHash, randomBytes } from 'node:crypto'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Message } from '../../core/message.ts'
import type { Gate } from '../../gate/gate.ts'
import { matches } from '../../topic/pattern.ts'
import { type CapturedFields, describeMessage } from './captured-fields.ts'

/** What is captured, and how long. */
export interface CaptureOptions {
  readonly forMs: number
  /** Most messages. */
  readonly max: number
  readonly client?: string | undefined
  /** MQTT filter or NATS subject with wildcards. */
  readonly topic?: string | undefined
  /** True: names of senders are replaced by hashes, which differ in each capture. */
  readonly hashSenders: boolean
  /** Captures with the same salt have the same hashes. Default: random. */
  readonly salt?: string | undefined
}

/** A message as a line of a capture, with its line end. */
export interface CapturedLine {
  /** Milliseconds since the Unix epoch. */
  readonly at: number
  readonly text: string
}

/** A capture until its end. */
export interface RunningCapture {
  /** Returns the lines captured since the last call, or waits for one; undefined at the end. */
  next(): Promise<string | undefined>
  /** Ends the capture; lines that wait are still read. */
  end(): void
}

/**
 * Captures messages that a gate decides, as lines for `topicgate replay`, without payloads. Ends after a time, a number
 * of messages, or when its reader does not keep up.
 */
export class MessageCapture implements RunningCapture {
  readonly #gate: Gate
  readonly #options: CaptureOptions
  readonly #lines: CapturedLine[] = []
  /** A message that waits is decided again. */
  readonly #seen = new WeakSet<Message>()
  readonly #salt: string
  readonly #cancelTimer: () => void
  readonly #onDecision = (_decision: unknown, message: Message): void => this.#record(message)
  #count = 0
  /** Characters of the lines that wait. */
  #chars = 0
  #isEnded = false
  #wake: (() => void) | undefined

  constructor(gate: Gate, options: CaptureOptions) {
    this.#gate = gate
    this.#options = options
    this.#salt = options.salt ?? randomBytes(16).toString('hex')
    this.#cancelTimer = gate.clock.after(options.forMs, () => this.end())
    gate.on('decision', this.#onDecision)
  }

  get isEnded(): boolean {
    return this.#isEnded
  }

  /** Removes and returns the lines captured since the last call. */
  takeLines(): readonly CapturedLine[] {
    this.#chars = 0
    return this.#lines.splice(0)
  }

  async next(): Promise<string | undefined> {
    if (this.#lines.length === 0 && !this.#isEnded) {
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
    return this.#lines.length === 0 ? undefined : joinLines(this.takeLines())
  }

  end(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#cancelTimer()
    this.#gate.off('decision', this.#onDecision)
    this.#wake?.()
  }

  #record(message: Message): void {
    const { client, topic, max } = this.#options
    if (client !== undefined && message.sender.client !== client) return
    if (topic !== undefined && !matches(topic, message.topic, this.#gate.dialect)) return
    if (this.#seen.has(message)) return
    this.#seen.add(message)
    const fields = this.#describe(message)
    const text = `${JSON.stringify(fields)}\n`
    this.#lines.push({ at: fields.at, text })
    this.#chars += text.length
    const isFull = this.#lines.length >= MAX_SIZES.capturedLines || this.#chars >= MAX_SIZES.capturedChars
    if (++this.#count >= max || isFull) this.end()
    else this.#wake?.()
  }

  #describe(message: Message): CapturedFields {
    const captured = describeMessage(message, this.#gate.clock.now())
    if (!this.#options.hashSenders) return captured
    const hash = (name: string | undefined): string | undefined =>
      name &&
      createHash('sha256')
        .update(this.#salt + name)
        .digest('base64url')
        .slice(0, 16)
    const { client, user, device } = captured
    return { ...captured, client: hash(client), user: hash(user), device: hash(device), ip: undefined }
  }
}

export function joinLines(lines: readonly CapturedLine[]): string {
  return lines.map(({ text }) => text).join('')
}
