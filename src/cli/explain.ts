import { type Explanation, Gate, MemoryStore } from '../index.ts'
import type { Action, Headers, Sender } from '../message.ts'
import { redact } from '../policy/index.ts'
import { CapturedMessage } from './captured-message.ts'
import { describeExplanation } from './describe-explanation.ts'
import { EXIT } from './failure.ts'
import { findPolicyFiles } from './policy-files.ts'
import { paintFor, type Terminal, write } from './terminal.ts'
import { VirtualClock } from './virtual-clock.ts'

export interface ExplainOptions {
  readonly policy: readonly string[]
  readonly json: boolean
  readonly topic: string
  readonly on: Action
  readonly sender: Sender
  readonly headers?: Headers | undefined
  readonly payload?: string | undefined
  /** Payload bytes; default: those of `payload`. */
  readonly size?: number | undefined
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  /** The moment it is decided at, whole milliseconds since the epoch; default: now. */
  readonly atMs?: number | undefined
  /** The load adaptive limits go by, 0 to 1; default: none, they are as they are written. */
  readonly load?: number | undefined
}

/** Prints every step for one message, the first its sender ever sent: nothing has been counted before it. */
export async function explain(options: ExplainOptions, terminal: Terminal): Promise<number> {
  const { stdout, env } = terminal
  const atMs = options.atMs ?? Date.now()
  const files = await findPolicyFiles(options.policy, env)
  const clock = new VirtualClock(atMs)
  const gate = await Gate.fromPolicy(files, {
    ...{ clock, env, store: new MemoryStore({ clock }) },
    load: options.load ?? 'none',
  })
  try {
    const message = new CapturedMessage(options, gate.dialect)
    const explanation = await gate.explain(message)
    if (options.json) await write(stdout, `${JSON.stringify(withoutSecrets(explanation), null, 2)}\n`)
    else {
      const lines = describeExplanation(explanation, message, atMs, paintFor(stdout, env))
      await write(stdout, `${lines.join('\n')}\n`)
    }
  } finally {
    await gate.close()
  }
  return EXIT.fine
}

/** Exemptions hold the secrets and api keys they compare with. */
function withoutSecrets(explanation: Explanation): unknown {
  const exemptions = explanation.exemptions.map(each => ({ ...each, options: redact(each.options) }))
  return { ...explanation, exemptions }
}
