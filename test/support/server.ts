import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { freePort } from './ports.ts'

/** A server that a test has started. */
export interface TestServer extends AsyncDisposable {
  readonly host: '127.0.0.1'
  readonly port: number
  readonly pid: number
  /** Working directory of the server, removed when it stops. */
  readonly folder: string
  /** Returns the last 20,000 characters of its output. */
  output(): string
  /** Sends a signal and waits until the server has ended. Default: SIGTERM, and SIGKILL after 5 seconds. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

export interface ServerRecipe {
  /** Name of the program. */
  readonly program: string
  /** Environment variable that may hold the path of the binary. */
  readonly variable: string
  /** Returns the arguments for a port and a folder. May write files into the folder. */
  args(port: number, folder: string): readonly string[] | Promise<readonly string[]>
  /** Port to use instead of a free one, such as that of a server that has crashed. */
  readonly port?: number
  /** Folders that are searched before the PATH. */
  readonly folders?: readonly string[]
  /** Returns additional environment variables. */
  env?(port: number, folder: string): Readonly<Record<string, string>>
  /** Maximum time until it accepts connections. Default: 60,000. */
  readonly startingMs?: number
}

const MAX_START_MS = 60_000
const MAX_STOP_MS = 5_000
const SHIMS = join(import.meta.dirname, '../../node_modules/.cache/topicgate/bin')

/** Starts a server and waits until it accepts connections. Tries up to three ports, because others may take one first. */
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
  const exited = new Promise<void>(resolve => {
    child.once('error', error => {
      output += String(error)
      resolve()
    })
    child.once('exit', () => resolve())
  })
  // Kills the server if the test runner ends early.
  const killOnExit = (): void => void child.kill('SIGKILL')
  process.once('exit', killOnExit)

  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    child.kill(signal)
    const killTimer = setTimeout(() => child.kill('SIGKILL'), MAX_STOP_MS)
    await exited
    clearTimeout(killTimer)
    process.removeListener('exit', killOnExit)
    await rm(folder, { recursive: true, force: true })
  }

  try {
    await untilAccepting(child, port, recipe.startingMs ?? MAX_START_MS)
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
    // SIGKILL is faster, but a wrapper around a container can pass on only SIGTERM.
    [Symbol.asyncDispose]: () => stop(binary.startsWith(SHIMS) ? 'SIGTERM' : 'SIGKILL'),
  }
}

async function untilAccepting(child: ChildProcess, port: number, startingMs: number): Promise<void> {
  const deadlineMs = performance.now() + startingMs
  while (performance.now() < deadlineMs) {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null)
      throw new Error('it ended')
    if (await accepts(port)) {
      // If another program has the port, the server ends within moments.
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

/** Returns the path of a program: that of its environment variable, or found in folders. Throws if it is not installed. */
export function findBinary({
  program,
  variable,
  folders: extraFolders = [],
}: Pick<ServerRecipe, 'program' | 'variable' | 'folders'>): string {
  const configured = process.env[variable]
  if (configured) return configured
  const folders = [
    ...extraFolders,
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
