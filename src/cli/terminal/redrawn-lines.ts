import { stripVTControlCharacters } from 'node:util'
import type { OutputStream } from './terminal.ts'

/** Lines on a terminal that are redrawn in place. */
export class RedrawnLines {
  readonly #output: OutputStream
  #lines = 0

  constructor(output: OutputStream) {
    this.#output = output
  }

  /** Cuts lines that would wrap, because the next drawing relies on their number. */
  draw(lines: readonly string[]): void {
    // A terminal of unknown width reports 0.
    const columns = this.#output.columns || 80
    const back = this.#lines === 0 ? '' : `\u001b[${this.#lines}A\u001b[J`
    this.#output.write(back + lines.map(line => `${shorten(line, columns)}\n`).join(''))
    this.#lines = lines.length
  }
}

/** Measures a line without colours; a line that is too long loses them. */
function shorten(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line)
  return plain.length < columns ? line : `${plain.slice(0, Math.max(0, columns - 2))}…`
}
