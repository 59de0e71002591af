import type { CapturedFields } from '../../admin/state/captured-fields.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { CaptureOutput } from './capture-output.ts'
import { type CaptureTarget, isSampled, type Pseudonyms } from './captured-message.ts'

export interface CaptureRecorderOptions {
  /** Maximum number of messages. */
  readonly max: number
  /** Share of the senders, above 0 and up to 1. */
  readonly senders: number
  readonly pseudonyms?: Pseudonyms | undefined
  /** True: leaves out messages while the output does not keep up. Default: false, which ends the recording. */
  readonly skipsWhenBehind?: boolean | undefined
}

/** Writes messages of the sampled senders to an output, until there are enough or the output fails or does not keep up. */
export class CaptureRecorder implements CaptureTarget {
  /** Resolves when no more messages are taken. */
  readonly ended: Promise<void>
  /** Messages so far. */
  count = 0
  isFull = false
  /** Messages in the output. */
  written = 0
  readonly #options: CaptureRecorderOptions
  readonly #output: CaptureOutput
  /** Messages left out because the output did not keep up, or had ended. */
  #skipped = 0
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
    const { max, senders, pseudonyms, skipsWhenBehind = false } = this.#options
    if (!isSampled(message, senders)) return
    if (this.isFull || this.#isBehind) {
      this.#skipped++
      return
    }
    const line = JSON.stringify(pseudonyms === undefined ? message : pseudonyms.replaceNames(message))
    if (this.#output.add(line)) this.flush()
    this.count++
    if (this.count >= max || (this.#isBehind && !skipsWhenBehind)) this.end()
  }

  /** Starts to write what was recorded, unless it is being written. */
  flush(): void {
    const { count } = this
    this.#flushing ??= this.#output
      .flush()
      .then(() => {
        this.written = count
      })
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

  /** Messages of the sampled senders that are not in the output and will not be. */
  get lost(): number {
    return this.#skipped + (this.#failure === undefined ? 0 : this.count - this.written)
  }

  get #isBehind(): boolean {
    return this.#output.waitingChars >= MAX_SIZES.capturedChars
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
    this.written = this.count
  }
}
