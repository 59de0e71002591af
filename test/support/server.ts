import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { freePort } from './ports.ts'

/** A server that a test started for itself. */
export interface TestServer extends AsyncDisposable {
  readonly host: '127.0.0.1'
  readonly port: number
  readonly pid: number
  /** Its own folder, removed when it stops. */
  readonly folder: string
  /** What it printed so far. */
  output(): string
  /** Ends it by process id and waits until it is gone. `SIGKILL` for a crash. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

export interface ServerRecipe {
  /** The program's name on the PATH. */
  readonly program: string
  /** The environment variable that may name the binary instead. */
  readonly variable: string
  /** Arguments, once the port and the folder are known; may write files there. */
  args(port: number, folder: string): readonly string[] | Promise<readonly string[]>
  /** A port to use instead of a free one, to come back after a crash. */
  readonly port?: number
  /** Folders to look in before the PATH. */
  readonly folders?: readonly string[]
  /** Further variables of its environment. */
  env?(port: number, folder: string): Readonly<Record<string, string>>
  /** Default: 60,000. */
  readonly startingMs?: number
}

const STARTING_MS = 60_000
const STOPPING_MS = 5_000
const SHIMS = join(import.meta.dirname, '../../node_modules/.cache/topicgate/bin')

/** Starts a server and waits until it accepts connections; tries other ports where another program was faster. */
export async function startServer(recipe: ServerRecipe): Promise<TestServer> {
  const attempts = recipe.port === undefined ? 3 : 1
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(recipe, recipe.port ?? (await freePort()))
    } catch (error) {
      if (attempt >= attempts) throw error
    }
  }
}

async function startOnce(recipe: ServerRecipe, port: number): Promise<TestServer> {
  const binary = findBinary(recipe)
  const folder = await mkdtemp(join(tmpdir(), `topicgate-${recipe.program}-`))
  const child = spawn(binary, await recipe.args(port, folder), {
    cwd: folder,
    env: { ...process.env, ...recipe.env?.(port, folder) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', chunk => {
      output = (output + chunk).slice(-20_000)
    })
  }
  const gone = new Promise<void>(resolve => {
    child.once('error', error => {
      output += String(error)
      resolve()
    })
    child.once('exit', () => resolve())
  })
  // A test runner that ends early takes its servers along.
  const killWithUs = (): void => void child.kill('SIGKILL')
  process.once('exit', killWithUs)

  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    child.kill(signal)
    const impatience = setTimeout(() => child.kill('SIGKILL'), STOPPING_MS)
    await gone
    clearTimeout(impatience)
    process.removeListener('exit', killWithUs)
    await rm(folder, { recursive: true, force: true })
  }

  try {
    await untilAccepting(child, port, recipe.startingMs ?? STARTING_MS)
  } catch (cause) {
    await stop('SIGKILL')
    throw new Error(`${recipe.program} did not start on port ${port}; it printed:\n${output}`, { cause })
  }
  return {
    host: '127.0.0.1',
    port,
    pid: child.pid ?? 0,
    folder,
    output: () => output,
    stop,
    // Ends at once; but a wrapper around a container passes only SIGTERM on to it.
    [Symbol.asyncDispose]: () => stop(binary.startsWith(SHIMS) ? 'SIGTERM' : 'SIGKILL'),
  }
}

async function untilAccepting(child: ChildProcess, port: number, startingMs: number): Promise<void> {
  const deadlineMs = performance.now() + startingMs
  while (performance.now() < deadlineMs) {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null)
      throw new Error('it ended')
    if (await accepts(port)) {
      // Another program may own the port while ours is about to notice and end.
      await new Promise(resolve => setTimeout(resolve, 20))
      if (child.exitCode === null && child.signalCode === null) return
    }
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  throw new Error(`it accepted no connection within ${startingMs} ms`)
}

function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** The path of a program: of its environment variable, else found on the PATH and in /usr/sbin. */
export function findBinary({
  program,
  variable,
  folders: own = [],
}: Pick<ServerRecipe, 'program' | 'variable' | 'folders'>): string {
  const named = process.env[variable]
  if (named) return named
  const folders = [
    ...own,
    SHIMS,
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/local/sbin',
    '/usr/sbin',
  ]
  for (const folder of folders) {
    const path = join(folder, program)
    if (isProgram(path)) return path
  }
  throw new Error(`${program} is not installed: run \`npm run ensure-servers\`, or name it in ${variable}`)
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
