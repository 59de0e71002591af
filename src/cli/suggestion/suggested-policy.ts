import type { Dialect } from '../../core/message.ts'
import { formatCount, formatShare, printable } from '../format.ts'
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
  const { capture, messages, firstMs, lastMs, dialect, rules } = policy
  const comments =
    verification === undefined
      ? []
      : [
          `Suggested by topicgate from ${printable(capture)}: ${formatCount(messages)} messages`,
          `from ${formatMoment(firstMs)} to ${formatMoment(lastMs)}, fitted on the first 70 % of the time.`,
          ...describeVerification(verification),
          'All rules are in shadow: they refuse nothing. Compare them with topicgate diff; topicgate promote RULE lets one refuse.',
        ]
  return [
    ...comments.map(line => `# ${line}`),
    'version: 1',
    `dialect: ${dialect}`,
    'rules:',
    ...rules.flatMap(rule => formatRule(rule, policy, verification !== undefined)),
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

function formatRule(
  { name, on, topic, per, fit }: SuggestedRule,
  { quantile }: SuggestedPolicy,
  isCommented: boolean,
): readonly string[] {
  return [
    ...(isCommented ? describeFit(per, fit, quantile).map(line => `  # ${line}`) : []),
    `  - name: ${name}`,
    ...(topic === undefined ? [] : [`    topic: ${JSON.stringify(topic)}`]),
    ...(on === 'publish' ? [] : [`    on: ${on}`]),
    `    per: ${per}`,
    `    limit: ${fit.limit}`,
    `    exceeded: ${on === 'connect' ? 'reject' : 'drop'}`,
    ...(isCommented ? ['    shadow: true'] : []),
  ]
}

function describeFit(per: string, fit: FittedLimit, quantile: number): readonly string[] {
  const { keys, messages, medianPerSecond, quantilePerSecond, ratePerSecond, quantiles, outliers, doubts } =
    fit
  const at = quantiles.find(each => each.ratePerSecond === ratePerSecond)!
  const share = `p${Number((quantile * 100).toFixed(3))}`
  const burst = [
    `median ${ceil(at.p50)}`,
    `p99 ${ceil(at.p99)}`,
    `${share} ${ceil(at.chosen)}`,
    `most ${ceil(at.max)}`,
  ]
  const named = outliers.slice(0, OUTLIERS_SHOWN)
  return [
    `${formatCount(messages)} messages, ${formatCount(keys)} ${keys === 1 ? 'key' : 'keys'} by ${per}: median ${formatPerSecond(medianPerSecond)}, ${share} ${formatPerSecond(quantilePerSecond)}.`,
    `Bursts at ${formatPerSecond(ratePerSecond)}: ${burst.join(', ')}. Headroom: rate × 1.5, burst × 1.25.`,
    ...named.map(
      each => `Set apart: ${printable(each.key)} ${each.reason} (${formatCount(each.messages)} messages).`,
    ),
    ...(outliers.length > named.length
      ? [`Set apart: ${formatCount(outliers.length - named.length)} more.`]
      : []),
    `Confidence: ${fit.confidence}${doubts.length > 0 ? ` (${doubts.join(', ')})` : ''}.`,
  ]
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
