import type { OutputStream } from './terminal.ts'

const EVERY_MS = 500

/** A line on a terminal that shows the progress of a command. Shows nothing if the output is no terminal. */
export class ProgressLine {
  readonly #output: OutputStream
  #shownAtMs = performance.now()

  constructor(output: OutputStream) {
    this.#output = output
  }

  /** Shows a text, at most twice a second. */
  show(describe: () => string): void {
    if (this.#output.isTTY !== true) return
    const nowMs = performance.now()
    if (nowMs - this.#shownAtMs < EVERY_MS) return
    this.#shownAtMs = nowMs
    this.#output.write(`\r${describe()}\u001b[K`)
  }

  /** Removes the line. */
  clear(): void {
    if (this.#output.isTTY === true) this.#output.write('\r\u001b[K')
  }
}
