import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import type { Decision } from '../decision.ts'
import { Gate, MemoryStore } from '../index.ts'
import { type Captured, CaptureReader } from './capture.ts'
import { Endings } from './endings.ts'
import { CommandFailure, EXIT } from './failure.ts'
import { formatCount } from './format.ts'
import { LineError, LineSplitter } from './lines.ts'
import { findPolicyFiles } from './policy-files.ts'
import { type Terminal, write } from './terminal.ts'
import { Totals } from './totals.ts'
import { VirtualClock } from './virtual-clock.ts'

/** Characters gathered before they are written. */
const BATCH_CHARS = 65_536
const PROGRESS_EVERY_MS = 500

export interface ReplayOptions {
  readonly policy: readonly string[]
  /** The path of a capture; `-` is the standard input. */
  readonly capture: string
  readonly json: boolean
  /** The load adaptive limits go by, 0 to 1; default: none, they are as they are written. */
  readonly load?: number | undefined
}

/**
 * Decides a capture line by line on a virtual clock, each at its own `at`, in the order given: two runs give the
 * same bytes. Rejects with CommandFailure, exit code 1, at the first line that cannot be read.
 */
export async function replay(options: ReplayOptions, terminal: Terminal): Promise<number> {
  const clock = new VirtualClock()
  const files = await findPolicyFiles(options.policy, terminal.env)
  const store = new MemoryStore({ clock })
  const gate = await Gate.fromPolicy(files, { clock, store, env: terminal.env, load: options.load ?? 'none' })
  try {
    await new Replay(options, gate, clock, terminal).run()
  } finally {
    await gate.close()
  }
  return EXIT.fine
}

class Replay {
  readonly #options: ReplayOptions
  readonly #gate: Gate
  readonly #clock: VirtualClock
  readonly #terminal: Terminal
  readonly #reader: CaptureReader
  readonly #totals: Totals
  /** Handlers that are at work. */
  readonly #endings: Endings
  #line = 0
  #decided = 0
  #batch = ''
  #progressAtMs = performance.now()

  constructor(options: ReplayOptions, gate: Gate, clock: VirtualClock, terminal: Terminal) {
    this.#options = options
    this.#gate = gate
    this.#clock = clock
    this.#terminal = terminal
    this.#reader = new CaptureReader(gate.dialect)
    this.#totals = new Totals(gate.rules())
    this.#endings = new Endings(({ dueMs, message, handled }) => {
      clock.moveTo(dueMs)
      gate.handling.note(message, handled)
    })
  }

  async run(): Promise<void> {
    const splitter = new LineSplitter()
    try {
      for await (const chunk of this.#open()) {
        await this.#decideAll(splitter.push(chunk as Buffer))
        this.#showProgress()
      }
      await this.#decideAll(splitter.end())
    } catch (error) {
      throw this.#describe(error)
    } finally {
      this.#clearProgress()
      await this.#flush()
    }
    if (!this.#options.json) await write(this.#terminal.stdout, `${this.#totals.describe().join('\n')}\n`)
  }

  #open(): Readable {
    const { capture } = this.#options
    return capture === '-' ? this.#terminal.stdin : createReadStream(capture, { highWaterMark: 1 << 18 })
  }

  async #decideAll(lines: Iterator<string>): Promise<void> {
    for (;;) {
      // Counted before it is read: a line that cannot even be cut out has its number.
      this.#line++
      const { value: line, done } = lines.next()
      if (done) {
        this.#line--
        return
      }
      if (line.trim() === '') continue
      const captured = this.#reader.read(line)
      this.#endings.pass(captured.atMs)
      this.#clock.moveTo(captured.atMs)
      const answer = this.#gate.check(captured.message)
      // Awaited only where it must be: a promise a line would cost more than the decision.
      this.#tell(captured, answer instanceof Promise ? await answer : answer)
      if (this.#batch.length >= BATCH_CHARS) await this.#flush()
    }
  }

  #tell(captured: Captured, decision: Decision): void {
    const { atMs, message } = captured
    this.#decided++
    this.#handle(captured, decision)
    if (this.#options.json) this.#batch += `${formatDecision(atMs, message.topic, decision)}\n`
    else this.#totals.note(atMs, message, decision)
  }

  /** What passed is handled, and the end of that is told at its own moment. */
  #handle({ atMs, message, handled }: Captured, { allowed }: Decision): void {
    if (!allowed || handled === undefined || !this.#gate.handling.isHeard) return
    this.#endings.add(atMs, message, handled)
  }

  async #flush(): Promise<void> {
    const batch = this.#batch
    this.#batch = ''
    await write(this.#terminal.stdout, batch)
  }

  #describe(error: unknown): unknown {
    const { capture } = this.#options
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT' || code === 'EISDIR' || code === 'EACCES') {
      const reason =
        code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'this is a folder' : code
      return new CommandFailure(
        `${capture}: ${reason} (name a capture, or - for the standard input)`,
        EXIT.failed,
      )
    }
    if (!(error instanceof LineError)) return error
    const place = `${capture === '-' ? '(standard input)' : capture}:${this.#line}`
    const before = this.#decided === 1 ? '1 line was' : `${formatCount(this.#decided)} lines were`
    const text = `${place}: ${error.message}\n${before} decided before it`
    return new CommandFailure(text, EXIT.failed, { cause: error })
  }

  #showProgress(): void {
    const { stderr, stdout } = this.#terminal
    // Lines of JSON on the same screen show progress enough.
    if (stderr.isTTY !== true || (this.#options.json && stdout.isTTY === true)) return
    const nowMs = performance.now()
    if (nowMs - this.#progressAtMs < PROGRESS_EVERY_MS) return
    this.#progressAtMs = nowMs
    stderr.write(`\r${formatCount(this.#decided)} lines decided`)
  }

  #clearProgress(): void {
    if (this.#terminal.stderr.isTTY === true) this.#terminal.stderr.write('\r\u001b[K')
  }
}

/** One decision as a line of JSON, its fields in the order of the format; null stands for absent and for never. */
export function formatDecision(atMs: number, topic: string, decision: Decision): string {
  return JSON.stringify({
    at: atMs,
    topic,
    allowed: decision.allowed,
    outcome: decision.outcome,
    reason: decision.reason,
    rule: decision.rule ?? null,
    limit: decision.limit ?? null,
    remaining: decision.remaining ?? null,
    // JSON has no Infinity: it becomes null.
    retryAfterMs: decision.retryAfterMs,
  })
}
