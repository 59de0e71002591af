import { emitKeypressEvents, type Key } from 'node:readline'
import type { Terminal } from './terminal.ts'

/** Reads single keys from a terminal until it is released. Reads nothing if the input is no terminal. */
export class PressedKeys {
  readonly #stdin: Terminal['stdin']
  readonly #onKeypress: (text: string | undefined, key: Key) => void
  readonly #isTerminal: boolean

  /** `onKey` gets names such as `up`, `return`, `q` and `ctrl-c`, which raises no signal meanwhile. */
  constructor(stdin: Terminal['stdin'], onKey: (name: string) => void) {
    this.#stdin = stdin
    this.#isTerminal = stdin.isTTY === true
    this.#onKeypress = (_text, { name, ctrl }) => {
      if (name !== undefined) onKey(ctrl === true ? `ctrl-${name}` : name)
    }
    if (!this.#isTerminal) return
    emitKeypressEvents(stdin)
    stdin.setRawMode?.(true)
    stdin.on('keypress', this.#onKeypress)
    stdin.resume()
  }

  release(): void {
    if (!this.#isTerminal) return
    this.#stdin.off('keypress', this.#onKeypress)
    this.#stdin.setRawMode?.(false)
    this.#stdin.pause()
  }
}
