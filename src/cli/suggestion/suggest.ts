import type { Dialect, MaybePromise } from '../../core/message.ts'
import { CaptureFileReader } from '../capture/capture-file.ts'
import { CaptureLineParser, type CaptureRecord } from '../capture/capture-format.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { formatCount, formatTable, sanitizeForTerminal } from '../terminal/format.ts'
import { ProgressLine } from '../terminal/progress-line.ts'
import { type Terminal, write } from '../terminal/terminal.ts'
import { writeOutputFile } from '../terminal/write-output-file.ts'
import { CaptureSurvey } from './capture-survey.ts'
import { CompactCaptureCopy } from './compact-capture-copy.ts'
import { defineGroups } from './define-groups.ts'
import { fitLimit, type Outlier } from './fit-limit.ts'
import { LimitVerifier } from './limit-verifier.ts'
import { MessageGroups } from './message-groups.ts'
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

/** Share of the time of a capture that limits are fitted to. The rest verifies them. */
const FITTED_SHARE = 0.7
/** Share of the messages of ordinary senders that the verified part may lose. */
const MAX_LOST_SHARE = 0.001

export interface SuggestOptions {
  /** Path of a capture; `-` is the standard input. */
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
 * Suggests limits from a capture: fits them to its first 70 % and replays the last 30 % with them. Reads the capture once, with
 * a compact copy in a temporary file, in bounded memory. Exit code 1 if ordinary senders would lose 0.1 % of their messages. Rejects with CommandError
 * for a capture that cannot be read or is too short.
 */
export async function suggest(options: SuggestOptions, terminal: Terminal): Promise<number> {
  const { policy, verification } = await new Suggestion(options, terminal).run()
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

interface Suggested {
  readonly policy: SuggestedPolicy
  readonly verification: Verification
}

class Suggestion {
  readonly #options: SuggestOptions
  readonly #terminal: Terminal
  readonly #name: string
  readonly #progress: ProgressLine

  constructor(options: SuggestOptions, terminal: Terminal) {
    this.#options = options
    this.#terminal = terminal
    this.#name = options.capture === '-' ? (options.source ?? 'the standard input') : options.capture
    this.#progress = new ProgressLine(terminal.stderr)
  }

  async run(): Promise<Suggested> {
    const copy = await CompactCaptureCopy.create()
    try {
      const survey = await this.#survey(copy)
      return await this.#fitAndVerify(copy, survey)
    } finally {
      this.#progress.clear()
      await copy.close()
    }
  }

  /** Reads the capture, and copies it. */
  async #survey(copy: CompactCaptureCopy): Promise<CaptureSurvey> {
    const survey = new CaptureSurvey(this.#options.dialect)
    // The dialect of the messages is not known yet, nor used.
    const parser = new CaptureLineParser('mqtt', this.#options)
    const capture = new CaptureFileReader(this.#options.capture, this.#terminal.stdin, parser)
    await capture.readMessages(
      record => {
        const { lineNumber } = parser
        survey.record(record, copy.hasLine(lineNumber))
        return copy.add(record, lineNumber)
      },
      () => this.#showProgress(capture, 'read'),
    )
    if (survey.lastMs > survey.firstMs) {
      const outOfOrder = parser.describeOutOfOrder()
      if (outOfOrder !== undefined) await write(this.#terminal.stderr, `${outOfOrder}\n`)
      return survey
    }
    throw new CommandError(
      `${this.#name}: ${survey.messages === 0 ? 'there is no message' : 'all messages have the same time'} (record a longer capture)`,
      EXIT.failed,
    )
  }

  /** Fits limits to the first part of the messages, and verifies them with the rest. */
  async #fitAndVerify(copy: CompactCaptureCopy, survey: CaptureSurvey): Promise<Suggested> {
    const { firstMs, lastMs, dialect } = survey
    const cutMs = firstMs + Math.ceil(FITTED_SHARE * (lastMs - firstMs))
    const groups = new MessageGroups(defineGroups(this.#options, survey), dialect)
    const messages = await copy.read(dialect)
    let policy: SuggestedPolicy | undefined
    let verifier: LimitVerifier | undefined
    const use = (record: CaptureRecord): MaybePromise<void> => {
      if (verifier !== undefined) return verifier.decide(record)
      if (record.atMs >= cutMs) return beginVerification(record)
      groups.visit(record.message, (group, key) => group.needs.record(key, record.atMs))
    }
    const beginVerification = async (record: CaptureRecord): Promise<void> => {
      policy = this.#fit(groups, survey, cutMs)
      verifier = await LimitVerifier.create(policy, groups)
      await verifier.decide(record)
    }
    try {
      await messages.readMessages(use, () =>
        this.#showProgress(messages, verifier === undefined ? 'fitted' : 'verified'),
      )
      // The last message is not before the cut.
      return { policy: policy!, verification: verifier!.verification }
    } finally {
      await verifier?.close()
    }
  }

  #showProgress(capture: CaptureFileReader, action: string): void {
    this.#progress.show(() => `${formatCount(capture.line)} lines ${action}`)
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
    `wrote ${sanitizeForTerminal(file)}, with all rules in shadow`,
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
