import { createHash } from 'node:crypto'
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
}

/**
 * Captures messages that a gate decides, as lines for `topicgate replay`, without payloads. Ends after a time, a number
 * of messages, or when its reader does not keep up.
 */
export class MessageCapture {
  readonly #gate: Gate
  readonly #options: CaptureOptions
  readonly #lines: string[] = []
  /** A message that waits is decided again. */
  readonly #seen = new WeakSet<Message>()
  readonly #salt = String(Math.random())
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
    this.#cancelTimer = gate.clock.after(options.forMs, () => this.end())
    gate.on('decision', this.#onDecision)
  }

  /** Returns the lines captured since the last call, or waits for one; undefined at the end. */
  async next(): Promise<string | undefined> {
    if (this.#lines.length === 0 && !this.#isEnded) {
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
    this.#chars = 0
    return this.#lines.length === 0 ? undefined : this.#lines.splice(0).join('')
  }

  /** Ends the capture; lines that wait are still read. */
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
    const line = `${JSON.stringify(this.#describe(message))}\n`
    this.#lines.push(line)
    this.#chars += line.length
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
