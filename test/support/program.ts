import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { ROOT } from './built.ts'

/** What a program left behind. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface ProgramOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  /** What it reads from its standard input; else it reads nothing. */
  readonly input?: string
  /** After this it is killed. Default: 120,000. */
  readonly timeoutMs?: number
}

/** A node program that runs. */
export interface Program extends AsyncDisposable {
  readonly pid: number
  readonly stdout: string
  readonly stderr: string
  /** The first line, printed already or to come, that matches; rejects when the program ends without it. */
  line(pattern: RegExp): Promise<RegExpExecArray>
  readonly ended: Promise<Ended>
  /** Sends a signal; by process id, nothing else. */
  signal(signal: NodeJS.Signals): void
}

/** Starts `node` with arguments. The program dies with the test run. */
export function startNode(args: readonly string[], options: ProgramOptions = {}): Program {
  const child = spawn(process.execPath, [...args], {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, FORCE_COLOR: undefined, NO_COLOR: '1', ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const lines: string[] = []
  const watchers = new Set<() => void>()
  let stdout = ''
  let stderr = ''
  let over = false
  const tell = (): void => {
    for (const watcher of [...watchers]) watcher()
  }
  child.stdout.on('data', chunk => {
    stdout += chunk
  })
  child.stderr.on('data', chunk => {
    stderr += chunk
  })
  createInterface({ input: child.stdout }).on('line', text => {
    lines.push(text)
    tell()
  })
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  const patience = setTimeout(kill, options.timeoutMs ?? 120_000)
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      over = true
      clearTimeout(patience)
      process.removeListener('exit', kill)
      resolve({ code, signal, stdout, stderr })
      tell()
    })
  })
  return {
    pid: child.pid!,
    get stdout() {
      return stdout
    },
    get stderr() {
      return stderr
    },
    ended,
    line: pattern =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = lines.map(text => pattern.exec(text)).find(match => match !== null)
          if (!found && !over) return
          watchers.delete(look)
          if (found) resolve(found)
          else reject(new Error(`it ended without printing ${String(pattern)}:\n${stdout}${stderr}`))
        }
        watchers.add(look)
        look()
      }),
    signal: name => void child.kill(name),
    [Symbol.asyncDispose]: async () => {
      if (!over) kill()
      await ended
    },
  }
}

/** Runs `node` with arguments to its end. */
export function runNode(args: readonly string[], options: ProgramOptions = {}): Promise<Ended> {
  return startNode(args, options).ended
}
