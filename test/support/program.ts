import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { ROOT } from './built.ts'

/** Exit status and output of a program. */
export interface ExitResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface ProgramOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Standard input. Default: empty. */
  readonly input?: string
  /** Time after which the program is killed. Default: 120,000. */
  readonly timeoutMs?: number
}

/** A running Node program. */
export interface Program extends AsyncDisposable {
  readonly pid: number
  readonly stdout: string
  readonly stderr: string
  /** Resolves with the match of the first matching line, printed before or later. Rejects if the program ends without one. */
  line(pattern: RegExp): Promise<RegExpExecArray>
  readonly ended: Promise<ExitResult>
  /** Sends a signal to this process only. */
  signal(signal: NodeJS.Signals): void
}

/** Starts `node` with arguments. It is killed when the test run ends. */
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
  let hasEnded = false
  const notifyWatchers = (): void => {
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
    notifyWatchers()
  })
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  const killTimer = setTimeout(kill, options.timeoutMs ?? 120_000)
  const ended = new Promise<ExitResult>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      hasEnded = true
      clearTimeout(killTimer)
      process.removeListener('exit', kill)
      resolve({ code, signal, stdout, stderr })
      notifyWatchers()
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
        const checkLines = (): void => {
          const found = lines.map(text => pattern.exec(text)).find(match => match !== null)
          if (!found && !hasEnded) return
          watchers.delete(checkLines)
          if (found) resolve(found)
          else reject(new Error(`it ended without printing ${String(pattern)}:\n${stdout}${stderr}`))
        }
        watchers.add(checkLines)
        checkLines()
      }),
    signal: name => void child.kill(name),
    [Symbol.asyncDispose]: async () => {
      if (!hasEnded) kill()
      await ended
    },
  }
}

/** Runs `node` with arguments and waits until it ends. */
export function runNode(args: readonly string[], options: ProgramOptions = {}): Promise<ExitResult> {
  return startNode(args, options).ended
}
