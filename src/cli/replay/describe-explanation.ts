import { describeCondition } from '../../conditions/describe.ts'
import type { Dialect, Message, Sender } from '../../core/message.ts'
import type {
  Decision,
  ExemptionTrace,
  ExemptOptions,
  Explanation,
  HandlerTrace,
  LimitTrace,
  SenderMatchLists,
  SizeTrace,
  SkippedRule,
  UnchangedTrace,
} from '../../index.ts'
import {
  formatCount,
  formatPercent,
  formatUnits,
  formatWait,
  sanitizeForTerminal,
} from '../terminal/format.ts'
import type { Paint } from '../terminal/terminal.ts'

const LISTS = ['topics', 'clients', 'devices', 'users', 'roles', 'tiers', 'ips'] as const

/** Formats every step of a decision as lines of text. */
export function describeExplanation(
  explanation: Explanation,
  message: Message,
  atMs: number,
  paint: Paint,
): readonly string[] {
  const { ban, exemptions, limits, sizes, unchanged, skipped, handlers, held, custom, decision } = explanation
  const attributes = [`${message.on}`, `${formatCount(message.size)} bytes`, `qos ${message.qos ?? 0}`]
  if (message.retain) attributes.push('retained')
  if (message.will) attributes.push('a will')
  const exempted = exemptions.some(({ exempts }) => exempts)
  return [
    `${paint('bold', sanitizeForTerminal(message.topic, 200))}  ${attributes.join(', ')}, at ${new Date(atMs).toISOString()}`,
    '',
    paint('bold', 'route'),
    ...indent(describeRoute(explanation, message)),
    paint('bold', 'sender'),
    ...indent(describeSender(explanation.sender)),
    ...(ban === undefined
      ? [
          paint('bold', 'exemptions'),
          ...indent(
            exemptions.length > 0 ? exemptions.map(each => describeExemption(each, paint)) : ['none'],
          ),
          `${paint('bold', 'limits')}${exempted ? ' (not asked, as an exemption lets it pass)' : ''}`,
          ...indent(sizes.map(each => describeSize(each, message.size, paint))),
          ...indent(unchanged.map(each => describeUnchanged(each, paint))),
          ...indent(
            limits.length + sizes.length + unchanged.length > 0
              ? limits.map(each => describeLimit(each, paint))
              : ['none applies'],
          ),
          ...indent(skipped.map(each => describeSkipped(each, paint))),
        ]
      : [
          `${paint('bold', 'ban')} (exemptions and limits are not asked)`,
          ...indent([`${sanitizeForTerminal(ban.id, 200)}: ${sanitizeForTerminal(ban.reason, 500)}`]),
        ]),
    ...(handlers.length > 0 ? [paint('bold', 'handlers'), ...indent(handlers.map(describeHandler))] : []),
    ...(held.length > 0 ? [paint('bold', 'held by the broker'), ...indent(held.map(describeHandler))] : []),
    ...(custom > 0 ? indent([`and ${custom} of your own, which an explanation does not run`]) : []),
    paint('bold', 'outcome'),
    ...indent([describeDecision(decision, paint)]),
  ]
}

function indent(lines: readonly string[]): readonly string[] {
  return lines.map(line => `  ${line}`)
}

function describeRoute({ patterns }: Explanation, message: Message): readonly string[] {
  const dialect = message.protocol ?? 'mqtt'
  const named = new Set(patterns.filter(pattern => pattern !== undefined))
  const lines = [...named].map(pattern => {
    const captures = readCaptures(pattern, message.topic, dialect)
    return [pattern, ...captures.map(([name, level]) => `${name}=${sanitizeForTerminal(level)}`)].join('  ')
  })
  if (patterns.includes(undefined)) lines.push('and rules for every topic')
  return lines.length > 0 ? lines : ['nothing in the policy matches this topic']
}

/** Returns the named levels of a pattern, by which rules count. */
function readCaptures(
  pattern: string,
  topic: string,
  dialect: Dialect,
): readonly (readonly [string, string])[] {
  const separator = dialect === 'mqtt' ? '/' : '.'
  const levels = topic.split(separator)
  const filter = dialect === 'mqtt' ? pattern.replace(/^\$share\/[^/]+\//, '') : pattern
  return filter.split(separator).flatMap((level, index) => {
    const name = /^\{(\w+)\}$/.exec(level)?.[1]
    const held = levels[index]
    return name === undefined || held === undefined ? [] : [[name, held] as const]
  })
}

function describeSender(sender: Sender): readonly string[] {
  const { client, user, device, apiKey, ip, roles, tier } = sender
  const parts = Object.entries({ client, user, device, ip, tier }).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name} ${sanitizeForTerminal(value)}`],
  )
  if (apiKey !== undefined) parts.push('apiKey ***')
  if (roles !== undefined && roles.length > 0)
    parts.push(`roles ${roles.map(role => sanitizeForTerminal(role)).join(', ')}`)
  return [parts.length > 0 ? parts.join(', ') : 'unknown']
}

function describeExemption(trace: ExemptionTrace, paint: Paint): string {
  const { exempts, covers, holds, options, own } = trace
  const name = trace.name ?? '(unnamed)'
  if (exempts) {
    const left =
      own === undefined
        ? ''
        : `; its own limit has ${formatUnits(own.remaining, own.unit)} of ${formatUnits(own.limit, own.unit)} left`
    return `${paint('green', 'yes')}  ${name}: ${describeMatch(options)}${left}`
  }
  const no = paint('dim', 'no ')
  if (!covers) return `${no}  ${name}: none of its lists has it: ${lists(options)}`
  if (!holds) return `${no}  ${name}: does not hold: ${options.when ? describeCondition(options.when) : ''}`
  const wait = own === undefined ? '' : `, again in ${formatWait(own.retryAfterMs)}`
  return `${no}  ${name}: its own limit is reached: ${options.limit ?? ''}${wait}`
}

function describeMatch(options: ExemptOptions): string {
  const words = [lists(options), options.when ? describeCondition(options.when) : '']
  return words.filter(word => word !== '').join('; ') || 'holds for all'
}

function lists(options: SenderMatchLists & { readonly topics?: readonly string[] | undefined }): string {
  const shown = LISTS.flatMap(list => {
    const entries = options[list]
    if (entries === undefined) return []
    const first = entries.slice(0, 5).map(entry => sanitizeForTerminal(entry))
    return [
      `${list} ${[...first, ...(entries.length > 5 ? [`and ${entries.length - 5} more`] : [])].join(', ')}`,
    ]
  })
  if (options.apiKeys !== undefined) shown.push(`apiKeys (${options.apiKeys.length}, not shown)`)
  return shown.join('; ')
}

function describeLimit(limit: LimitTrace, paint: Paint): string {
  const verdict = limit.allowed ? paint('green', 'yes') : paint('red', 'no ')
  const counter = limit.per.join('+') === 'global' ? 'for all' : `per ${sanitizeForTerminal(limit.counter)}`
  const { unit } = limit
  const cost = unit === 'bytes' ? formatUnits(limit.cost, unit) : String(limit.cost)
  const numbers = `costs ${cost} of ${formatUnits(limit.limit, unit)}, ${formatUnits(limit.remaining, unit)} left`
  const wait = limit.allowed ? '' : `, again in ${formatWait(limit.retryAfterMs)}`
  const scaled = limit.scaled === undefined ? '' : ` (x${limit.scaled.factor}: ${limit.scaled.reason})`
  const shadow = describeShadow(limit, paint)
  return `${verdict}  ${limit.rule}: ${limit.algorithm} ${counter}: ${numbers}${wait}${scaled}${shadow}`
}

function describeSize(trace: SizeTrace, sizeBytes: number, paint: Paint): string {
  const { rule, maxBytes, allowed } = trace
  const verdict = allowed ? paint('green', 'yes') : paint('red', 'no ')
  const shadow = describeShadow(trace, paint)
  return `${verdict}  ${rule}: ${formatCount(sizeBytes)} of at most ${formatCount(maxBytes)} bytes${shadow}`
}

function describeUnchanged(trace: UnchangedTrace, paint: Paint): string {
  const { rule, allowed } = trace
  const verdict = allowed ? paint('green', 'yes') : paint('red', 'no ')
  const compared = allowed ? 'differs from' : 'equals'
  return `${verdict}  ${rule}: the payload ${compared} the last one of its topic${describeShadow(trace, paint)}`
}

function describeShadow(
  { shadow, shadowShare }: Pick<LimitTrace, 'shadow' | 'shadowShare'>,
  paint: Paint,
): string {
  const share = shadowShare === undefined ? '' : ` for ${formatPercent(shadowShare)} of senders`
  if (shadow) return paint('yellow', ` (shadow${share}: only reported)`)
  return shadowShare === undefined ? '' : paint('yellow', ` (shadow${share}, not for this one)`)
}

function describeSkipped({ rule, when, for: senders }: SkippedRule, paint: Paint): string {
  const why = senders
    ? `not for this sender: ${lists(senders)}`
    : `not for this message: ${when ? describeCondition(when) : ''}`
  return `${paint('dim', '-  ')}  ${rule}: ${why}`
}

function describeHandler({ name, description }: HandlerTrace): string {
  return `${name}: ${sanitizeForTerminal(description, 400)}`
}

function describeDecision(decision: Decision, paint: Paint): string {
  const { allowed, outcome, reason, rule, exemption, retryAfterMs, shadow } = decision
  const verdict = paint(allowed ? 'green' : 'red', outcome)
  const by =
    rule !== undefined ? `, by rule ${rule}` : exemption === undefined ? '' : `, by exemption ${exemption}`
  const wait = allowed
    ? ''
    : retryAfterMs === Infinity
      ? ', never passes'
      : `, again in ${formatWait(retryAfterMs)}`
  const silent = shadow === undefined ? '' : `; in shadow refused by ${shadow.join(', ')}`
  return `${verdict} (${reason}${by})${wait}${silent}`
}
