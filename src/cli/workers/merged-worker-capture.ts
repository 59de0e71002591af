import { randomBytes } from 'node:crypto'
import {
  type CapturedLine,
  type CaptureOptions,
  joinLines,
  type RunningCapture,
} from '../../admin/state/message-capture.ts'
import { type Clock, startAwaitedTimer } from '../../core/clock.ts'
import type { CapturedPart, CaptureRequest } from './worker-api.ts'

const READ_INTERVAL_MS = 200

/** Captures of the workers. */
export interface WorkerCaptures {
  /** Reads the captures of all workers that answer, and begins those that have not begun. */
  read(request: CaptureRequest): Promise<readonly CapturedPart[]>
  end(): void
}

/**
 * Captures the messages that all workers decide, in the order of their time. Ends when the capture of one worker does, as
 * when the reader does not keep up. Unread lines of a worker that ends, or that does not answer in time, are lost.
 */
export class MergedWorkerCapture implements RunningCapture {
  readonly #clock: Clock
  readonly #request: CaptureRequest
  readonly #untilMs: number
  readonly #workers: WorkerCaptures
  /** Lines that may be later than ones that are still to be read. */
  #waiting: CapturedLine[] = []
  #count = 0
  #isEnded = false
  #wake: (() => void) | undefined

  constructor(clock: Clock, options: CaptureOptions, workers: WorkerCaptures) {
    this.#clock = clock
    const [id, salt] = [randomBytes(8).toString('hex'), randomBytes(16).toString('hex')]
    this.#request = { ...options, id, salt }
    this.#untilMs = clock.now() + options.forMs
    this.#workers = workers
  }

  async next(): Promise<string | undefined> {
    while (!this.#isEnded) {
      const lines = await this.#read()
      if (lines.length > 0) return joinLines(lines)
      if (!this.#isEnded) await this.#pause()
    }
    return undefined
  }

  end(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#workers.end()
    this.#wake?.()
  }

  /** Reads the captures of all workers. Returns the lines before the call, or all at the end. */
  async #read(): Promise<readonly CapturedLine[]> {
    const nowMs = this.#clock.now()
    const { max } = this.#request
    // A worker that was started meanwhile begins now.
    const forMs = Math.max(1, this.#untilMs - nowMs)
    const parts = await this.#workers.read({ ...this.#request, forMs })
    const waiting = [...this.#waiting, ...parts.flatMap(({ lines }) => lines)].sort((a, b) => a.at - b.at)
    if (nowMs >= this.#untilMs || parts.some(({ isEnded }) => isEnded)) this.end()
    // Workers have answered later, so lines from then on are not complete.
    const complete = this.#isEnded ? waiting.length : waiting.filter(({ at }) => at < nowMs).length
    const lines = waiting.slice(0, Math.min(complete, max - this.#count))
    this.#waiting = waiting.slice(complete)
    this.#count += lines.length
    if (this.#count >= max) this.end()
    return lines
  }

  async #pause(): Promise<void> {
    await new Promise<void>(resolve => {
      this.#wake = resolve
      startAwaitedTimer(this.#clock, READ_INTERVAL_MS, resolve)
    })
    this.#wake = undefined
  }
}
