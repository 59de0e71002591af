import type { Decision } from '../../core/decision.ts'
import type { MaybePromise } from '../../core/message.ts'
import { Gate, MemoryStore } from '../../index.ts'
import { CaptureFileReader } from '../capture/capture-file.ts'
import { CaptureLineParser, type CaptureRecord } from '../capture/capture-format.ts'
import type { LevelPlotOptions } from '../plot/plot-flags.ts'
import { SenderLevels } from '../plot/sender-levels.ts'
import { resolvePolicyFiles } from '../policy/resolve-policy-files.ts'
import { EXIT } from '../terminal/command-error.ts'
import { formatCount } from '../terminal/format.ts'
import { ProgressLine } from '../terminal/progress-line.ts'
import { type Terminal, write } from '../terminal/terminal.ts'
import { writeOutputFile } from '../terminal/write-output-file.ts'
import { ReplayEngine } from './replay-engine.ts'
import { ReplayTotals } from './replay-totals.ts'
import { VIRTUAL_SWEEP_MS, VirtualClock } from './virtual-clock.ts'

/** Characters collected before they are written. */
const BATCH_CHARS = 65_536

export interface ReplayOptions {
  readonly policy: readonly string[]
  /** Path of a capture; `-` is the standard input. */
  readonly capture: string
  readonly json: boolean
  /** Load for adaptive limits, 0 to 1; default: limits are used as written. */
  readonly load?: number | undefined
  /** Decides lines that are out of order at the latest time before. Default: false, which refuses them. */
  readonly allowsOutOfOrder?: boolean | undefined
  /** Writes a plot of one sender. */
  readonly plot?: LevelPlotOptions | undefined
}

/**
 * Decides a capture line by line on a virtual clock, each at its `at`, in order: two runs print the same bytes. Rejects
 * with CommandError, exit code 1, at the first line that is unreadable or out of order.
 */
export async function replay(options: ReplayOptions, terminal: Terminal): Promise<number> {
  const clock = new VirtualClock()
  const files = await resolvePolicyFiles(options.policy, terminal.env)
  const store = new MemoryStore({ clock, sweepMs: VIRTUAL_SWEEP_MS })
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
  readonly #terminal: Terminal
  readonly #parser: CaptureLineParser
  readonly #capture: CaptureFileReader
  readonly #totals: ReplayTotals
  readonly #engine: ReplayEngine
  readonly #progress: ProgressLine
  readonly #levels: SenderLevels | undefined
  #decided = 0
  #batch = ''

  constructor(options: ReplayOptions, gate: Gate, clock: VirtualClock, terminal: Terminal) {
    this.#options = options
    this.#terminal = terminal
    this.#parser = new CaptureLineParser(gate.dialect, options)
    this.#capture = new CaptureFileReader(options.capture, terminal.stdin, this.#parser)
    this.#totals = new ReplayTotals(gate.rules(), name => gate.ruleOf(name)?.isShadow === true)
    this.#engine = new ReplayEngine(gate, clock)
    this.#progress = new ProgressLine(terminal.stderr)
    this.#levels = options.plot && new SenderLevels(options.plot.sender)
  }

  async run(): Promise<void> {
    try {
      await this.#capture.readMessages(
        captured => this.#decide(captured),
        () => this.#showProgress(),
      )
    } finally {
      this.#progress.clear()
      await this.#flush()
    }
    const { plot } = this.#options
    if (plot !== undefined && this.#levels !== undefined)
      await writeOutputFile(plot.file, 'the plot', this.#levels.render())
    if (!this.#options.json) await write(this.#terminal.stdout, `${this.#totals.describe().join('\n')}\n`)
    const outOfOrder = this.#parser.describeOutOfOrder()
    if (outOfOrder !== undefined) this.#terminal.stderr.write(`${outOfOrder}\n`)
  }

  #decide(captured: CaptureRecord): MaybePromise<void> {
    const answer = this.#engine.decide(captured)
    if (answer instanceof Promise) return answer.then(decision => this.#reportDecision(captured, decision))
    return this.#reportDecision(captured, answer)
  }

  #reportDecision({ atMs, message }: CaptureRecord, decision: Decision): MaybePromise<void> {
    this.#decided++
    this.#levels?.record(atMs, message, decision)
    if (this.#options.json) this.#batch += `${formatDecision(atMs, message.topic, decision)}\n`
    else this.#totals.recordDecision(atMs, message, decision)
    return this.#batch.length >= BATCH_CHARS ? this.#flush() : undefined
  }

  async #flush(): Promise<void> {
    const batch = this.#batch
    this.#batch = ''
    await write(this.#terminal.stdout, batch)
  }

  #showProgress(): void {
    // JSON lines on the same screen show progress already.
    if (this.#options.json && this.#terminal.stdout.isTTY === true) return
    this.#progress.show(() => `${formatCount(this.#decided)} lines decided`)
  }
}

/** Formats a decision as a line of JSON with fields in a fixed order; null means absent or never. */
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
    // Only of a message that a rule in shadow would have refused.
    shadow: decision.shadow,
  })
}
