import type { Dialect, MessageHeaders, Operation, Sender } from '../../core/message.ts'
import { CapturedMessage } from '../../core/message-from-fields.ts'
import { type Explanation, Gate, MemoryStore, validPattern, validTopic } from '../../index.ts'
import { redact } from '../../policy/index.ts'
import { CaptureFileReader } from '../capture/capture-file.ts'
import { CaptureLineParser } from '../capture/capture-format.ts'
import { readWithProgress } from '../capture/read-with-progress.ts'
import { resolvePolicyFiles } from '../policy/resolve-policy-files.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { sanitizeForTerminal } from '../terminal/format.ts'
import { paintFor, type Terminal, write } from '../terminal/terminal.ts'
import { describeExplanation } from './describe-explanation.ts'
import { ReplayEngine } from './replay-engine.ts'
import { VirtualClock } from './virtual-clock.ts'

export interface ExplainOptions {
  readonly policy: readonly string[]
  readonly json: boolean
  readonly topic: string
  readonly on: Operation
  readonly sender: Sender
  readonly headers?: MessageHeaders | undefined
  readonly payload?: string | undefined
  /** Payload bytes; default: those of `payload`. */
  readonly size?: number | undefined
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly will: boolean
  /** Capture to decide first, completely or up to `atMs`. `-` is the standard input. */
  readonly after?: string | undefined
  /** Time of the decision, in whole milliseconds since the epoch; default: the end of the capture, else now. */
  readonly atMs?: number | undefined
  /** Load for adaptive limits, 0 to 1; default: limits are used as written. */
  readonly load?: number | undefined
  /** Decides lines of the capture that are out of order. Default: false, which refuses them. */
  readonly allowsOutOfOrder?: boolean | undefined
}

/**
 * Prints every step of the decision about one message, with unused limits or after a capture, whose counts and
 * penalties are restored by a replay. Rejects with CommandError, exit code 1, for an unreadable capture.
 */
export async function explain(options: ExplainOptions, terminal: Terminal): Promise<number> {
  const { stdout, env } = terminal
  const files = await resolvePolicyFiles(options.policy, env)
  const clock = new VirtualClock(options.after === undefined ? (options.atMs ?? Date.now()) : 0)
  const gate = await Gate.fromPolicy(files, {
    clock,
    env,
    store: new MemoryStore({ clock }),
    load: options.load ?? 'none',
  })
  try {
    if (options.after !== undefined) await decideBefore(options.after, options, gate, clock, terminal)
    checkTopic(options, gate.dialect)
    const message = new CapturedMessage(options, gate.dialect)
    const explanation = await gate.explain(message)
    if (options.json) await write(stdout, `${JSON.stringify(withoutSecrets(explanation), null, 2)}\n`)
    else {
      const lines = describeExplanation(explanation, message, clock.now(), paintFor(stdout, env))
      await write(stdout, `${lines.join('\n')}\n`)
    }
  } finally {
    await gate.close()
  }
  return EXIT.fine
}

/** Exemptions and rules contain the secrets and API keys they compare with. */
function withoutSecrets(explanation: Explanation): unknown {
  const exemptions = explanation.exemptions.map(each => ({ ...each, options: redact(each.options) }))
  return { ...explanation, exemptions, skipped: explanation.skipped.map(redact) }
}

async function decideBefore(
  path: string,
  options: ExplainOptions,
  gate: Gate,
  clock: VirtualClock,
  { stdin, stderr }: Terminal,
): Promise<void> {
  const { atMs } = options
  const parser = new CaptureLineParser(gate.dialect, options)
  const capture = new CaptureFileReader(path, stdin, parser)
  const engine = new ReplayEngine(gate, clock)
  await readWithProgress(
    capture,
    captured => (captured.atMs <= (atMs ?? Infinity) ? engine.decide(captured) : undefined),
    stderr,
  )
  const outOfOrder = parser.describeOutOfOrder()
  if (outOfOrder !== undefined) await write(stderr, `${outOfOrder}\n`)
  if (atMs !== undefined) engine.moveTo(atMs)
}

/** Rejects a topic that is invalid for this action. */
function checkTopic({ topic, on }: ExplainOptions, dialect: Dialect): void {
  if (on === 'connect') return
  const isValid = on === 'subscribe' ? validPattern(topic, dialect) : validTopic(topic, dialect)
  if (isValid) return
  const shown = JSON.stringify(sanitizeForTerminal(topic))
  const isPattern = on !== 'subscribe' && validPattern(topic, dialect)
  const why = isPattern
    ? `${shown} is a pattern; a message of ${on} has a topic without wildcards`
    : `${shown} is not a ${on === 'subscribe' ? 'filter' : 'topic'} of ${dialect}`
  throw new CommandError(`--topic: ${why}`, EXIT.usage)
}
