import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { withoutControls } from '../../core/errors.ts'
import { andThen } from '../../core/maybe-promise.ts'
import { Gate, MemoryStore } from '../../index.ts'
import type { LoadedPolicy } from '../../policy/index.ts'
import { CaptureFileReader } from '../capture/capture-file.ts'
import { CaptureLineParser, type CaptureRecord } from '../capture/capture-format.ts'
import { readWithProgress } from '../capture/read-with-progress.ts'
import { loadNamedPolicy } from '../policy/load-named-policy.ts'
import { ReplayEngine } from '../replay/replay-engine.ts'
import { VIRTUAL_SWEEP_MS, VirtualClock } from '../replay/virtual-clock.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { paintFor, type Terminal, write } from '../terminal/terminal.ts'
import { comparePolicies } from './compare-policies.ts'
import { DECISION_CHANGES, DecisionChanges } from './decision-changes.ts'
import { describeDecisionChanges, describePolicyChanges } from './describe-diff.ts'
import { type FailCondition, isMet } from './fail-condition.ts'

export interface DiffPoliciesOptions {
  /** File, or files with commas between them, which override each other in order; `-` is the standard input. */
  readonly old: string
  readonly new: string
  /** Capture that both policies decide; `-` is the standard input. */
  readonly capture?: string | undefined
  /** Conditions for exit code 1; they need a capture. */
  readonly failOn: readonly FailCondition[]
  /** Load for adaptive limits, 0 to 1; default: limits are used as written. */
  readonly load?: number | undefined
  /** Decides lines that are out of order at the latest time before. Default: false, which refuses them. */
  readonly allowsOutOfOrder?: boolean | undefined
  readonly json: boolean
}

/**
 * Prints the differences of two policies and, with a capture, of their decisions. Exit code 1 if a condition of `failOn`
 * holds. Rejects with PolicyError, or with CommandError for a capture that is unreadable, or empty if there are conditions.
 */
export async function diffPolicies(options: DiffPoliciesOptions, terminal: Terminal): Promise<number> {
  const { stdout, stderr, env } = terminal
  const [oldFiles, newFiles] = [splitNames(options.old), splitNames(options.new)]
  const inputs = [...oldFiles, ...newFiles, options.capture].filter(name => name === '-')
  if (inputs.length > 1)
    throw new CommandError('the standard input is read once: name a file in place of one -', EXIT.usage)
  const { loaded: old, files: oldNames } = await loadNamedPolicy(oldFiles, terminal)
  const { loaded: now, files: newNames } = await loadNamedPolicy(newFiles, terminal)
  const changes = comparePolicies(old.document, now.document)
  const decisions =
    options.capture === undefined
      ? undefined
      : await compareDecisions(old, now, options.capture, options, terminal)
  if (options.json) {
    const totals =
      decisions && Object.fromEntries(DECISION_CHANGES.map(change => [change, decisions.totals(change)]))
    await write(
      stdout,
      `${JSON.stringify({ changes, messages: decisions?.messages, decisions: totals, inShadow: decisions?.inShadow }, null, 2)}\n`,
    )
  } else {
    const names = [oldNames, newNames].map(files =>
      files.map(file => (file === '-' ? '(standard input)' : withoutControls(basename(file)))).join(' + '),
    )
    const lines = [names.join(' → '), '', ...describePolicyChanges(changes, paintFor(stdout, env))]
    if (decisions !== undefined) lines.push('', ...describeDecisionChanges(decisions))
    await write(stdout, `${lines.join('\n')}\n`)
  }
  const met = options.failOn.filter(condition => decisions !== undefined && isMet(condition, decisions))
  for (const { text } of met) await write(stderr, `failed: ${withoutControls(text)}\n`)
  return met.length > 0 ? EXIT.failed : EXIT.fine
}

/** Returns the name of one file, or of several with commas between them. */
function splitNames(named: string): readonly string[] {
  return existsSync(named) ? [named] : named.split(',').map(file => file.trim())
}

/** A policy that decides the messages of a capture. */
class CaptureDecider {
  readonly gate: Gate
  readonly parser: CaptureLineParser
  readonly engine: ReplayEngine

  constructor(gate: Gate, clock: VirtualClock, options: DiffPoliciesOptions) {
    this.gate = gate
    this.parser = new CaptureLineParser(gate.dialect, options)
    this.engine = new ReplayEngine(gate, clock)
  }
}

async function openDecider(
  { document }: LoadedPolicy,
  options: DiffPoliciesOptions,
): Promise<CaptureDecider> {
  const clock = new VirtualClock()
  const store = new MemoryStore({ clock, sweepMs: VIRTUAL_SWEEP_MS })
  const gate = await Gate.fromPolicy(document, { clock, store, load: options.load ?? 'none' })
  return new CaptureDecider(gate, clock, options)
}

async function compareDecisions(
  oldPolicy: LoadedPolicy,
  newPolicy: LoadedPolicy,
  path: string,
  options: DiffPoliciesOptions,
  { stdin, stderr }: Terminal,
): Promise<DecisionChanges> {
  const old = await openDecider(oldPolicy, options)
  const now = await openDecider(newPolicy, options)
  // Each policy gets messages of its own: a gate keeps its state on the sender.
  const reader = {
    get end(): number {
      return old.parser.end
    },
    read(lines: Buffer, from: number): readonly [CaptureRecord, CaptureRecord] | undefined {
      const [before, after] = [old.parser.read(lines, from), now.parser.read(lines, from)]
      return before && after && [before, after]
    },
  }
  const capture = new CaptureFileReader(path, stdin, reader)
  const changes = new DecisionChanges()
  try {
    await readWithProgress(
      capture,
      ([before, after]) => {
        const { line } = capture
        return andThen(old.engine.decide(before), oldDecision =>
          andThen(now.engine.decide(after), decision =>
            changes.record(line, after.message.sender, oldDecision, decision),
          ),
        )
      },
      stderr,
    )
    if (options.failOn.length > 0) capture.requireMessage()
  } finally {
    await old.gate.close()
    await now.gate.close()
  }
  const outOfOrder = now.parser.describeOutOfOrder()
  if (outOfOrder !== undefined) await write(stderr, `${outOfOrder}\n`)
  return changes
}
