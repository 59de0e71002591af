import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../support/wait.ts'

const ROOT = join(import.meta.dirname, '../..')
const MAIN = join(ROOT, 'dist/src/cli/main.js')

/** Builds the command line where what is built is missing or older than its sources. */
export function buildOnce(): void {
  const sources = ['src', 'brokers'].flatMap(folder =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter(file => file.endsWith('.ts'))
      .map(file => join(folder, file)),
  )
  const fresh = sources.every(source => {
    const built = join(ROOT, 'dist', source.replace(/\.ts$/, '.js'))
    return existsSync(built) && statSync(built).mtimeMs >= statSync(join(ROOT, source)).mtimeMs
  })
  if (fresh) return
  const { stdout, stderr } = spawnSync('npx', ['tsc', '-b', '--force'], { cwd: ROOT, encoding: 'utf8' })
  if (!existsSync(MAIN)) throw new Error(`tsc -b built no command line:\n${stdout}${stderr}`)
}

/** A command that runs as a process of its own, and is killed with its scope. */
export class Command implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #ended: Promise<number | null>
  #out = ''
  #err = ''

  constructor(...args: string[]) {
    const env = { ...process.env, NO_COLOR: '1' }
    delete (env as Record<string, string | undefined>).FORCE_COLOR
    this.#child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env })
    this.#child.stdout?.on('data', chunk => {
      this.#out += String(chunk)
    })
    this.#child.stderr?.on('data', chunk => {
      this.#err += String(chunk)
    })
    this.#ended = new Promise(resolve => this.#child.once('close', code => resolve(code)))
  }

  get out(): string {
    return this.#out
  }

  get err(): string {
    return this.#err
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Closes our end of its output, as `head` does. */
  stopReading(): void {
    this.#child.stdout?.destroy()
  }

  /** The exit code; null where a signal ended it. */
  ended(): Promise<number | null> {
    return this.#ended
  }

  /** Waits for the nth line of the log with these words, and answers it. */
  async logged(words: string, count = 1): Promise<Readonly<Record<string, unknown>>> {
    const line = await until(() => this.#out.split('\n').filter(each => each.includes(words))[count - 1], {
      what: () => `"${words}" in the log; it says:\n${this.#out}${this.#err}`,
    })
    return JSON.parse(line) as Readonly<Record<string, unknown>>
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }
}
