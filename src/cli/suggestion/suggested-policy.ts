import type { Dialect } from '../../core/message.ts'
import { formatCount, formatNumberOf, formatShare, sanitizeForTerminal } from '../terminal/format.ts'
import type { FittedLimit } from './fit-limit.ts'
import { formatPerSecond } from './format-per-second.ts'
import type { GroupDefinition } from './message-groups.ts'

const OUTLIERS_SHOWN = 10

/** A rule with the limit that was fitted for it. */
export interface SuggestedRule extends GroupDefinition {
  readonly fit: FittedLimit
}

/** What the verified part of the capture would lose. */
export interface Verification {
  readonly ordinary: { readonly messages: number; readonly refused: number }
  readonly outliers: { readonly messages: number; readonly refused: number }
  /** Ordinary senders that lose most. */
  readonly worst: readonly { readonly name: string; readonly count: number }[]
}

export interface SuggestedPolicy {
  readonly capture: string
  readonly messages: number
  readonly firstMs: number
  readonly lastMs: number
  readonly dialect: Dialect
  readonly quantile: number
  readonly rules: readonly SuggestedRule[]
}

/** Returns the policy as YAML. With a verification, its rules are in shadow and comments say where the numbers come from. */
export function formatPolicy(policy: SuggestedPolicy, verification?: Verification): string {
  const { capture, messages, firstMs, lastMs, dialect, quantile, rules } = policy
  const comments =
    verification === undefined
      ? []
      : [
          `Suggested by topicgate from ${sanitizeForTerminal(capture)}: ${formatCount(messages)} messages`,
          `from ${formatMoment(firstMs)} to ${formatMoment(lastMs)}, fitted on the first 70 % of the time.`,
          ...describeVerification(verification),
          'All rules are in shadow: they refuse nothing. Compare them with topicgate diff; topicgate promote RULE lets one refuse.',
        ]
  return [
    ...comments.map(line => `# ${line}`),
    'version: 1',
    `dialect: ${dialect}`,
    'rules:',
    ...rules.flatMap(rule => formatRule(rule, quantile, verification !== undefined)),
    '',
  ].join('\n')
}

/** Describes what the last 30 % of a capture would lose. */
export function describeVerification({ ordinary, outliers, worst }: Verification): readonly string[] {
  const lost = ({ messages, refused }: Verification['ordinary']): string =>
    `${formatCount(refused)} of ${formatCount(messages)} messages (${formatLoss(refused, messages)})`
  return [
    `Replay of the last 30 %: ordinary senders lose ${lost(ordinary)}, outliers ${lost(outliers)}.`,
    ...(worst.length > 0
      ? [
          `Ordinary senders that lose most: ${worst.map(({ name, count }) => `${name} (${formatCount(count)})`).join(', ')}.`,
        ]
      : []),
  ]
}

function formatRule(rule: SuggestedRule, quantile: number, isCommented: boolean): readonly string[] {
  const { name, per, fit } = rule
  const fields = Object.entries(ruleFields(rule)).filter(
    ([word, value]) => value !== undefined && (isCommented || word !== 'shadow'),
  )
  return [
    ...(isCommented ? describeRule(per, fit, quantile).map(line => `  # ${line}`) : []),
    `  - name: ${name}`,
    ...fields.map(([word, value]) => `    ${word}: ${word === 'topic' ? JSON.stringify(value) : value}`),
  ]
}

/** Returns the fields of a rule in shadow besides its name, as a policy has them. */
export function ruleFields({ on, topic, per, fit }: SuggestedRule): Readonly<Record<string, unknown>> {
  return {
    topic,
    on: on === 'publish' ? undefined : on,
    per,
    limit: fit.limit,
    exceeded: on === 'connect' ? 'reject' : 'drop',
    shadow: true,
  }
}

function describeRule(per: string, fit: FittedLimit, quantile: number): readonly string[] {
  const { counts, bursts, confidence } = describeBasis(per, fit, quantile)
  const named = fit.outliers.slice(0, OUTLIERS_SHOWN)
  const others = fit.outliers.length - named.length
  return [
    ...[counts, bursts],
    ...named.map(
      each =>
        `Set apart: ${sanitizeForTerminal(each.key)} ${each.reason} (${formatCount(each.messages)} messages).`,
    ),
    ...(others > 0 ? [`Set apart: ${formatCount(others)} more.`] : []),
    confidence,
  ]
}

/** What a limit is based on, in sentences. */
export interface LimitBasis {
  readonly counts: string
  readonly bursts: string
  readonly confidence: string
}

export function describeBasis(per: string, fit: FittedLimit, quantile: number): LimitBasis {
  const { keys, messages, medianPerSecond, quantilePerSecond, ratePerSecond, quantiles, doubts } = fit
  const at = quantiles.find(each => each.ratePerSecond === ratePerSecond)!
  const share = `p${Number((quantile * 100).toFixed(3))}`
  const bursts = [
    `median ${ceil(at.p50)}`,
    `p99 ${ceil(at.p99)}`,
    `${share} ${ceil(at.chosen)}`,
    `most ${ceil(at.max)}`,
  ]
  return {
    counts: `${formatCount(messages)} messages, ${formatNumberOf(keys, 'key')} by ${per}: median ${formatPerSecond(medianPerSecond)}, ${share} ${formatPerSecond(quantilePerSecond)}.`,
    bursts: `Bursts at ${formatPerSecond(ratePerSecond)}: ${bursts.join(', ')}. Headroom: rate × 1.5, burst × 1.25.`,
    confidence: `Confidence: ${fit.confidence}${doubts.length > 0 ? ` (${doubts.join(', ')})` : ''}.`,
  }
}

function ceil(value: number): string {
  return formatCount(Math.ceil(value))
}

function formatMoment(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')
}

/** Formats a loss with more digits than `formatShare`, which would show few refusals as 0.0 %. */
export function formatLoss(refused: number, messages: number): string {
  const share = messages === 0 ? 0 : (100 * refused) / messages
  return share > 0 && share < 1 ? `${share.toPrecision(2)} %` : formatShare(refused, messages)
}
