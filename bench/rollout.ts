import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { report } from './harness.ts'

/**
 * One cell: user CPU of a process that runs a command of topicgate, or that reads the lines of a capture with node:readline and
 * JSON.parse (`lines CAPTURE`), start included. Arguments: those of the command.
 */
const [work, ...rest] = process.argv.slice(2) as [string, ...string[]]

/** Returns the number of lines. */
async function readLines(file: string): Promise<number> {
  let lines = 0
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    const { at } = JSON.parse(line) as { readonly at: unknown }
    if (typeof at === 'number') lines++
  }
  return lines
}

async function runCommand(args: readonly string[]): Promise<void> {
  const { run } = await import('../src/cli/program.ts')
  const stdout = new Writable({ write: (_chunk, _encoding, done) => done() })
  const { stdin, stderr } = process
  const exitCode = await run(args, { stdin, stdout, stderr, env: {} })
  if (exitCode !== 0) throw new Error(`${args.join(' ')} ended with ${exitCode}`)
}

const lines = work === 'lines' ? await readLines(rest[0]!) : 0
if (work !== 'lines') await runCommand([work, ...rest])
report({ lines, userSeconds: process.cpuUsage().user / 1e6 })
