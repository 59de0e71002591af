import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { report } from './harness.ts'

/**
 * One cell: CPU of a fresh process until it has imported the package (`import`), or until its broker is ready
 * (`broker`), without that of an empty Node. Runs the built package. Linux only. Argument: work.
 */
const [work] = process.argv.slice(2) as ['import' | 'broker']
const dist = join(process.cwd(), 'dist/src')

/** Prints a line and stays, so that the CPU time of the process can be read. */
const WAIT = "console.log('ready:'); setInterval(() => {}, 1000)"
const EMPTY = ['--input-type=module', '--eval', WAIT]
const WORKS = {
  import: ['--input-type=module', '--eval', `await import('${dist}/index.js'); ${WAIT}`],
  broker: [join(dist, 'cli/main.js'), 'broker', 'fleet', '--port', '0'],
}

async function measure(args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const line of createInterface(child.stdout)) if (line.includes('ready:')) break
  const cpuMs = readCpuMs(child)
  child.kill('SIGKILL')
  return cpuMs
}

/** Returns the CPU time of all threads of a process. */
function readCpuMs({ pid }: ChildProcess): number {
  const tasks = readdirSync(`/proc/${pid}/task`)
  const nanoseconds = tasks.map(task =>
    Number.parseInt(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8'), 10),
  )
  return nanoseconds.reduce((sum, each) => sum + each, 0) / 1e6
}

const emptyMs = await measure(EMPTY)
report({ emptyMs, cpuMs: (await measure(WORKS[work])) - emptyMs })
