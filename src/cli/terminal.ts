import type { Readable, Writable } from 'node:stream'
import { styleText } from 'node:util'

/** A stream a command writes to; knows whether it is a screen. */
export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number }

/** Where a command reads, writes and looks: the process' own, or a test's. */
export interface Terminal {
  readonly stdin: Readable
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

/** Styles a text where the output shows colours, else leaves it as it is. */
export type Paint = (style: Style, text: string) => string

/** FORCE_COLOR and NO_COLOR decide, in this order, as in Node itself; else colours are for screens. */
export function paintFor(output: Output, env: Terminal['env']): Paint {
  if (!hasColors(output, env)) return (_style, text) => text
  // Else Node would decide by the process' own output.
  return (style, text) => styleText(style, text, { validateStream: false })
}

function hasColors(output: Output, env: Terminal['env']): boolean {
  if (env.FORCE_COLOR !== undefined) return env.FORCE_COLOR !== '0' && env.FORCE_COLOR !== 'false'
  if (env.NO_COLOR || env.TERM === 'dumb') return false
  return output.isTTY === true
}

/** Waits until the output takes more; at once where it does. Keeps a slow reader from filling the memory. */
export async function write(output: Output, text: string): Promise<void> {
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
