import type { Readable, Writable } from 'node:stream'
import { styleText } from 'node:util'

/** An output stream of a command; `isTTY` is true for a terminal. */
export type OutputStream = Writable & { readonly isTTY?: boolean; readonly columns?: number }

/** Input, output and environment of a command: those of the process or of a test. */
export interface Terminal {
  /** `isTTY` is true for a terminal, whose raw mode passes on each key. */
  readonly stdin: Readable & { readonly isTTY?: boolean; setRawMode?(isRaw: boolean): unknown }
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  readonly env: Readonly<Record<string, string | undefined>>
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

/** Styles a text if the output supports colours. */
export type Paint = (style: Style, text: string) => string

/** Returns a painter. FORCE_COLOR and NO_COLOR decide, in this order, as in Node; otherwise terminals have colours. */
export function paintFor(output: OutputStream, env: Terminal['env']): Paint {
  if (!hasColors(output, env)) return (_style, text) => text
  // Otherwise Node would check the process' own output.
  return (style, text) => styleText(style, text, { validateStream: false })
}

function hasColors(output: OutputStream, env: Terminal['env']): boolean {
  if (env.FORCE_COLOR !== undefined) return env.FORCE_COLOR !== '0' && env.FORCE_COLOR !== 'false'
  if (env.NO_COLOR || env.TERM === 'dumb') return false
  return output.isTTY === true
}

/** Writes a text and waits until the output accepts more, so that a slow reader does not fill the memory. */
export async function write(output: OutputStream, text: string): Promise<void> {
  if (text === '' || output.write(text) || output.destroyed) return
  await new Promise<void>(resolve => {
    const done = (): void => {
      output.off('drain', done)
      output.off('close', done)
      resolve()
    }
    output.once('drain', done)
    output.once('close', done)
  })
}
