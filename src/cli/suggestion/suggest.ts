import { HeavyHitters } from '../../analytics/heavy-hitters.ts'
import type { Decision } from '../../core/decision.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { andThen } from '../../core/maybe-promise.ts'
import type { Dialect, MaybePromise } from '../../core/message.ts'
import { Gate, MemoryStore } from '../../index.ts'
import { CaptureFileReader, type CaptureLineReader } from '../capture-file.ts'
import { CaptureReader, type CaptureRecord } from '../capture-format.ts'
import { CommandError, EXIT } from '../command-error.ts'
import { formatCount, formatTable, printable } from '../format.ts'
import { endOfLine } from '../line-splitter.ts'
import { ProgressLine } from '../progress-line.ts'
import { ReplayEngine } from '../replay-engine.ts'
import { nameSender } from '../replay-totals.ts'
import { type Terminal, write } from '../terminal.ts'
import { VIRTUAL_SWEEP_MS, VirtualClock } from '../virtual-clock.ts'
import { writeOutputFile } from '../write-output-file.ts'
import { defineGroups } from './define-groups.ts'
import { fitLimit, type Outlier } from './fit-limit.ts'
import { MessageGroups } from './message-groups.ts'
import { StdinCopy } from './stdin-copy.ts'
import {
  describeBasis,
  describeVerification,
  formatLoss,
  formatPolicy,
  ruleFields,
  type SuggestedPolicy,
  type SuggestedRule,
  type Verification,
} from './suggested-policy.ts'
import { renderSuggestion } from './suggestion-charts.ts'
import { CaptureSurvey } from './survey-capture.ts'

/** Share of the time of a capture that limits are fitted to. The rest verifies them. */
const FITTED_SHARE = 0.7
/** Share of the messages of ordinary senders that the verified part may lose. */
const MAX_LOST_SHARE = 0.001
const WORST_SHOWN = 3

export interface SuggestOptions {
  /** Path of a capture; `-` is the standard input, which is copied to a temporary file. */
  readonly capture: string
  /** Name of the standard input in what is printed. Default: `the standard input`. */
  readonly source?: string | undefined
  /** Suggests one rule for this pattern. Default: rules for all topics of the capture. */
  readonly topic?: string | undefined
  /** Identity that rules count by. Default: the first one that almost all senders have. */
  readonly per?: string | undefined
  /** Share of ordinary senders that limits cover, 0 to 1. */
  readonly quantile: number
  /** Default: that of the topics. */
  readonly dialect?: Dialect | undefined
  /** File for the policy. Default: it is printed. */
  readonly write?: string | undefined
  /** File for a plot of the bursts that senders need. */
  readonly plot?: string | undefined
  /** Uses lines that are out of order at the latest time before. Default: false, which refuses them. */
  readonly allowsOutOfOrder?: boolean | undefined
  readonly json: boolean
}

/**
 * Suggests limits from a capture: fits them to its first 70 % and replays the last 30 % with them. Reads the capture three
 * times, in bounded memory. Exit code 1 if ordinary senders would lose 0.1 % of their messages. Rejects with CommandError
 * for a capture that cannot be read or is too short.
 */
export async function suggest(options: SuggestOptions, terminal: Terminal): Promise<number> {
  const input = options.capture === '-' ? await StdinCopy.copy(terminal.stdin) : undefined
  let suggestion: Awaited<ReturnType<Suggestion['run']>>
  try {
    suggestion = await new Suggestion(options, terminal, input).run()
  } finally {
    await input?.remove()
  }
  const { policy, verification } = suggestion
  const text = formatPolicy(policy, verification)
  if (options.write !== undefined) await writeOutputFile(options.write, 'the policy', text)
  if (options.plot !== undefined) await writeOutputFile(options.plot, 'the plot', renderSuggestion(policy))
  if (options.json)
    await write(terminal.stdout, `${JSON.stringify(suggestionJson(policy, verification, text))}\n`)
  else if (options.write === undefined) await write(terminal.stdout, text)
  else await write(terminal.stdout, `${describeSuggestion(policy, verification, options.write).join('\n')}\n`)
  const { messages, refused } = verification.ordinary
  if (refused <= MAX_LOST_SHARE * messages) return EXIT.fine
  const remedy = 'record a longer capture, or raise --quantile'
  await write(
    terminal.stderr,
    `failed: ordinary senders would lose ${formatLoss(refused, messages)} of their messages (${remedy})\n`,
  )
  return EXIT.failed
}

class Suggestion {
  readonly #options: SuggestOptions
  readonly #terminal: Terminal
  readonly #input: StdinCopy | undefined
  readonly #name: string
  readonly #progress: ProgressLine

  constructor(options: SuggestOptions, terminal: Terminal, input: StdinCopy | undefined) {
    this.#input = input
    this.#name = input === undefined ? options.capture : (options.source ?? 'the standard input')
    this.#options = options
    this.#terminal = terminal
    this.#progress = new ProgressLine(terminal.stderr)
  }

  async run(): Promise<{ readonly policy: SuggestedPolicy; readonly verification: Verification }> {
    try {
      const survey = await this.#survey()
      const { firstMs, lastMs, dialect } = survey
      const cutMs = firstMs + Math.ceil(FITTED_SHARE * (lastMs - firstMs))
      const groups = new MessageGroups(defineGroups(this.#options, survey), dialect)
      const firstLine = await this.#record(groups, cutMs)
      const policy = this.#fit(groups, survey, cutMs)
      return { policy, verification: await this.#verify(policy, groups, firstLine) }
    } finally {
      this.#progress.clear()
    }
  }

  async #survey(): Promise<CaptureSurvey> {
    const survey = new CaptureSurvey(this.#options.dialect)
    // The dialect of the messages is not known yet, nor used.
    const reader = new CaptureReader('mqtt', this.#options)
    await this.#read(reader, 'read', record => {
      survey.record(record)
      return true
    })
    if (survey.lastMs > survey.firstMs) {
      const outOfOrder = reader.describeOutOfOrder()
      if (outOfOrder !== undefined) await write(this.#terminal.stderr, `${outOfOrder}\n`)
      return survey
    }
    throw new CommandError(
      `${this.#name}: ${survey.messages === 0 ? 'there is no message' : 'all messages have the same time'} (record a longer capture)`,
      EXIT.failed,
    )
  }

  /** Records the messages before a time. Returns the number of the line after them. */
  #record(groups: MessageGroups, cutMs: number): Promise<number> {
    return this.#read(new CaptureReader(groups.dialect, this.#options), 'fitted', ({ atMs, message }) => {
      if (atMs >= cutMs) return false
      groups.visit(message, (group, key) => group.needs.record(key, atMs))
      return true
    })
  }

  /** Reads the capture until `use` returns false. Returns the number of the last line. */
  async #read(
    reader: CaptureLineReader<CaptureRecord>,
    action: string,
    use: (record: CaptureRecord) => MaybePromise<boolean>,
  ): Promise<number> {
    const stdin = this.#input?.open() ?? this.#terminal.stdin
    const capture = new CaptureFileReader(this.#options.capture, stdin, reader)
    await capture.readMessages(use, () =>
      this.#progress.show(() => `${formatCount(capture.line)} lines ${action}`),
    )
    return capture.line
  }

  #fit(
    groups: MessageGroups,
    { messages, firstMs, lastMs, dialect }: CaptureSurvey,
    cutMs: number,
  ): SuggestedPolicy {
    const { quantile } = this.#options
    const capture = this.#name
    const options = { quantile, spanMs: cutMs - firstMs, capturedMs: lastMs - firstMs }
    const rules: SuggestedRule[] = []
    const outliers = new Map<string, Outlier>()
    for (const { name, on, topic, per, needs } of groups.groups) {
      // Over all topics, only those senders are set apart that one of its topics sets apart.
      const isOverAll = on === 'publish' && topic === undefined
      const fit = fitLimit(needs, isOverAll ? { ...options, outliers } : options)
      if (fit === undefined) continue
      rules.push({ name, on, topic, per, fit })
      if (on === 'publish') for (const outlier of fit.outliers) outliers.set(outlier.key, outlier)
    }
    if (rules.length === 0) {
      const remedy = this.#options.topic === undefined ? 'record a longer capture' : 'change --topic'
      throw new CommandError(`${capture}: the first 70 % have no such message (${remedy})`, EXIT.failed)
    }
    return { capture, messages, firstMs, lastMs, dialect, quantile, rules }
  }

  /** Decides the messages from a line on with the rules in force, from full buckets on. */
  async #verify(policy: SuggestedPolicy, groups: MessageGroups, firstLine: number): Promise<Verification> {
    const clock = new VirtualClock()
    const gate = await Gate.fromPolicy(formatPolicy(policy), {
      clock,
      store: new MemoryStore({ clock, sweepMs: VIRTUAL_SWEEP_MS }),
    })
    const engine = new ReplayEngine(gate, clock)
    const outliers = new Map(
      policy.rules.map(({ name, fit }) => [name, new Set(fit.outliers.map(({ key }) => key))]),
    )
    const counts = { ordinary: { messages: 0, refused: 0 }, outliers: { messages: 0, refused: 0 } }
    const worst = new HeavyHitters(MAX_SIZES.countedSenders)
    const count = ({ message }: CaptureRecord, { allowed }: Decision): true => {
      let isOutlier = false
      groups.visit(message, (group, key) => {
        isOutlier ||= outliers.get(group.name)?.has(key) ?? false
      })
      const total = isOutlier ? counts.outliers : counts.ordinary
      total.messages++
      if (allowed) return true
      total.refused++
      if (!isOutlier) worst.add(nameSender(message.sender), 1)
      return true
    }
    const reader = new CaptureReader(groups.dialect, this.#options)
    try {
      await this.#read(new ReaderFromLine(reader, firstLine), 'verified', record =>
        andThen(engine.decide(record), decision => count(record, decision)),
      )
    } finally {
      await gate.close()
    }
    return { ...counts, worst: worst.top(WORST_SHOWN) }
  }
}

/** Reads no message before a line. */
class ReaderFromLine implements CaptureLineReader<CaptureRecord> {
  end = 0
  readonly #reader: CaptureReader
  readonly #firstLine: number
  #line = 0

  /** Lines are numbered from 1. */
  constructor(reader: CaptureReader, firstLine: number) {
    this.#reader = reader
    this.#firstLine = firstLine
  }

  read(lines: Buffer, from: number): CaptureRecord | undefined {
    const isBefore = ++this.#line < this.#firstLine
    const record = isBefore ? undefined : this.#reader.read(lines, from)
    this.end = isBefore ? endOfLine(lines, from) : this.#reader.end
    return record
  }
}

/** Describes a suggestion that was written to a file. */
function describeSuggestion(
  policy: SuggestedPolicy,
  verification: Verification,
  file: string,
): readonly string[] {
  const rows = policy.rules.map(({ name, topic, per, fit }) => [
    name,
    topic ?? '(all)',
    per,
    fit.limit,
    formatCount(fit.keys),
    formatCount(fit.outliers.length),
    fit.confidence,
  ])
  return [
    `wrote ${printable(file)}, with all rules in shadow`,
    '',
    ...formatTable(['rule', 'topic', 'per', 'limit', 'keys', 'outliers', 'confidence'], rows),
    '',
    ...describeVerification(verification),
  ]
}

function suggestionJson(policy: SuggestedPolicy, verification: Verification, text: string): object {
  const { rules, ...rest } = policy
  return {
    ...rest,
    rules: rules.map(rule => {
      const { fit, ...group } = rule
      const { quantiles: _, ...limit } = fit
      const basis = Object.values(describeBasis(rule.per, fit, policy.quantile))
      return { ...group, ...limit, basis, fields: ruleFields(rule) }
    }),
    verification: { ...verification, text: describeVerification(verification) },
    policy: text,
  }
}
