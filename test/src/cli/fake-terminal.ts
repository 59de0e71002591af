import { Readable, Writable } from 'node:stream'
import { run } from '../../../src/cli/program.ts'
import type { OutputStream, Terminal } from '../../../src/cli/terminal/terminal.ts'

export interface FakeTerminal extends Terminal {
  /** What was printed so far. */
  out(): string
  err(): string
}

interface Setup {
  readonly stdin?: string | Buffer
  readonly env?: Readonly<Record<string, string>>
  readonly isTTY?: boolean
  readonly columns?: number
}

/** A terminal that keeps what is written to it. Its output takes one write at a time, as a slow reader does. */
export function fakeTerminal(setup: Setup = {}): FakeTerminal {
  const written = { out: '', err: '' }
  const keep = (name: 'out' | 'err'): OutputStream => {
    const output = new Writable({
      highWaterMark: 1,
      decodeStrings: false,
      write(chunk, _encoding, done) {
        written[name] += String(chunk)
        setImmediate(done)
      },
    })
    return Object.assign(output, { isTTY: setup.isTTY ?? false, columns: setup.columns ?? 80 })
  }
  return {
    stdin: Readable.from([Buffer.from(setup.stdin ?? '')]),
    stdout: keep('out'),
    stderr: keep('err'),
    env: setup.env ?? {},
    out: () => written.out,
    err: () => written.err,
  }
}

/** Runs a command line; what it printed is whole when this resolves. */
export async function runCommand(
  args: readonly string[],
  setup: Setup = {},
): Promise<{ readonly exitCode: number; readonly out: string; readonly err: string }> {
  const terminal = fakeTerminal(setup)
  const exitCode = await run(args, terminal)
  await Promise.all(
    [terminal.stdout, terminal.stderr].map(
      output => new Promise<void>(resolve => output.end(() => resolve())),
    ),
  )
  return { exitCode, out: terminal.out(), err: terminal.err() }
}
