import { stripVTControlCharacters } from 'node:util'
import type { Output } from './terminal.ts'

/** Lines on a screen that are drawn anew in their place. */
export class LiveScreen {
  readonly #output: Output
  #lines = 0

  constructor(output: Output) {
    this.#output = output
  }

  /** Lines that would break are cut: the next drawing counts them to find its place. */
  draw(lines: readonly string[]): void {
    // A terminal that does not know its width says 0.
    const columns = this.#output.columns || 80
    const back = this.#lines === 0 ? '' : `\u001b[${this.#lines}A\u001b[J`
    this.#output.write(back + lines.map(line => `${shorten(line, columns)}\n`).join(''))
    this.#lines = lines.length
  }
}

/** Colours take no room; a line that is too long loses them. */
function shorten(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line)
  return plain.length < columns ? line : `${plain.slice(0, Math.max(0, columns - 2))}…`
}
