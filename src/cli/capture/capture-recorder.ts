import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { CaptureOutput } from './capture-output.ts'
import { type CapturedFields, type CaptureTarget, isSampled, type Pseudonyms } from './captured-message.ts'

export interface CaptureRecorderOptions {
  /** Maximum number of messages. */
  readonly max: number
  /** Share of the senders, above 0 and up to 1. */
  readonly senders: number
  readonly pseudonyms?: Pseudonyms | undefined
}

/** Writes messages of the sampled senders to an output, until there are enough or the output does not keep up. */
export class CaptureRecorder implements CaptureTarget {
  /** Resolves when no more messages are taken. */
  readonly ended: Promise<void>
  /** Messages so far. */
  count = 0
  isFull = false
  readonly #options: CaptureRecorderOptions
  readonly #output: CaptureOutput
  #flushing: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined
  #resolveEnded: () => void = () => {}

  constructor(options: CaptureRecorderOptions, output: CaptureOutput) {
    this.#options = options
    this.#output = output
    this.ended = new Promise(resolve => {
      this.#resolveEnded = resolve
    })
  }

  record(message: CapturedFields): void {
    const { max, senders, pseudonyms } = this.#options
    if (this.isFull || !isSampled(message, senders)) return
    const line = JSON.stringify(pseudonyms === undefined ? message : pseudonyms.replaceNames(message))
    if (this.#output.add(line)) this.flush()
    this.count++
    if (this.count >= max || this.#output.waitingChars >= MAX_SIZES.capturedChars) this.end()
  }

  /** Starts to write what was recorded, unless it is being written. */
  flush(): void {
    this.#flushing ??= this.#output
      .flush()
      .catch((error: unknown) => {
        this.#failure ??= { error }
        this.end()
      })
      .finally(() => {
        this.#flushing = undefined
      })
  }

  /** Resolves when the output has taken what is being written. */
  async drained(): Promise<void> {
    await this.#flushing
  }

  end(): void {
    this.isFull = true
    this.#resolveEnded()
  }

  /** Writes the rest. Rejects with CommandError if the capture could not be written. */
  async close(): Promise<void> {
    this.end()
    await this.#flushing
    await this.#output.close()
    if (this.#failure !== undefined) throw this.#failure.error
  }
}
