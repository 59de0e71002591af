import type { Dialect, Message, MessageHeaders, Operation, Sender } from '../../core/message.ts'
import { createSender } from '../../index.ts'
import type { CompiledPolicy, CompiledRuleOptions } from '../../policy/index.ts'

/** Values of a capture before the last one, and of a wildcard. Fleets have many devices on few sites. */
const REPEATED_VALUES = 100
const SIZE_BYTES = 100

/** A sender and its topic. */
export interface Flow {
  readonly sender: Sender
  readonly topic: string
  readonly on: Operation
}

/** Fields shared by all messages. */
export interface BenchMessageFields {
  readonly protocol: Dialect
  readonly headers: MessageHeaders | undefined
  /** JSON text. */
  readonly payload: string
}

/** Generated traffic that reaches every rule of a policy. */
export interface Traffic {
  readonly flows: readonly Flow[]
  readonly contents: BenchMessageFields
}

/** A message as an adapter creates one for each packet. */
export class BenchMessage implements Message {
  readonly topic: string
  readonly on: Operation
  readonly sender: Sender
  readonly size = SIZE_BYTES
  readonly qos = 0
  readonly retain = false
  readonly protocol: Dialect
  readonly headers?: MessageHeaders
  readonly #payload: string

  constructor({ topic, on, sender }: Flow, { protocol, headers, payload }: BenchMessageFields) {
    this.topic = topic
    this.on = on
    this.sender = sender
    this.protocol = protocol
    if (headers !== undefined) this.headers = headers
    this.#payload = payload
  }

  payload(): unknown {
    return JSON.parse(this.#payload)
  }
}

/**
 * Generates traffic from the patterns of a policy by filling captures and wildcards. Senders are assigned to the
 * patterns in turn, each with one topic and all its parts except roles and tier.
 */
export function makeTraffic({ dialect, rules, senders }: CompiledPolicy, count: number): Traffic {
  const enabled = rules.filter(({ options }) => options.enabled !== false)
  const ruleByPattern = new Map(enabled.map(rule => [`${onOf(rule)} ${rule.topic ?? ''}`, rule]))
  const patterns = [...ruleByPattern.values()].map(rule => ({
    topic: rule.topic ?? 'bench/{client}',
    on: onOf(rule),
  }))
  if (patterns.length === 0) patterns.push({ topic: 'bench/{client}', on: 'publish' })
  const flows = Array.from({ length: count }, (_, index) => {
    const { topic, on } = patterns[index % patterns.length]!
    return { sender: makeSender(index), topic: fillPattern(topic, dialect, index), on }
  })
  const payload = JSON.stringify(payloadFor(enabled))
  return { flows, contents: { protocol: dialect, headers: headersFor(enabled, senders), payload } }
}

/** Returns a topic that matches a pattern; `index` makes the topics of senders distinct. */
export function fillPattern(pattern: string, dialect: Dialect, index: number): string {
  const separator = dialect === 'mqtt' ? '/' : '.'
  const levels = pattern.split(separator)
  if (dialect === 'mqtt' && levels[0] === '$share' && levels.length > 2) levels.splice(0, 2)
  const isCapture = (level: string): boolean => level.startsWith('{') && level.endsWith('}')
  const last = levels.findLastIndex(isCapture)
  const filled = levels.map((level, levelIndex) => {
    if (isCapture(level))
      return `${level.slice(1, -1)}-${levelIndex === last ? index : index % REPEATED_VALUES}`
    if (level === '+' || level === '*') return `any-${index % REPEATED_VALUES}`
    return level === '#' || level === '>' ? 'rest' : level
  })
  return filled.join(separator)
}

function onOf({ options }: CompiledRuleOptions): Operation {
  return options.on ?? 'publish'
}

/** Uses addresses of the benchmark network 198.18.0.0/15 (RFC 2544), which exemptions hardly ever name. */
function makeSender(index: number): Sender {
  const host = index % 2 ** 17
  return createSender({
    client: `client-${index}`,
    user: `user-${index}`,
    device: `device-${index}`,
    apiKey: `key-${index}`,
    ip: `198.${18 + (host >> 16)}.${(host >> 8) & 255}.${host & 255}`,
    roles: [],
  })
}

/** Returns true if a rule counts by key and cost. */
function isCounted(
  rule: CompiledRuleOptions,
): rule is Exclude<CompiledRuleOptions, { readonly kind: 'maxSize' | 'unchanged' }> {
  return rule.kind !== 'maxSize' && rule.kind !== 'unchanged'
}

/** Returns the headers that rules and senders need, each with a value. */
function headersFor(all: readonly CompiledRuleOptions[], senders: unknown): MessageHeaders | undefined {
  const rules = all.filter(isCounted)
  const scopes = rules.flatMap(({ options }) => options.per ?? []).flatMap(scope => scope.split('|'))
  const scoped = scopes.flatMap(scope => (scope.startsWith('header.') ? [scope.slice('header.'.length)] : []))
  const templates = [...JSON.stringify(senders ?? {}).matchAll(/\{header\.([^{}"]+)\}/g)].map(
    ([, name]) => name!,
  )
  const costs = rules.flatMap(({ options: { cost } }) =>
    typeof cost === 'object' && 'header' in cost ? [[cost.header, '1'] as const] : [],
  )
  const headers = [...[...scoped, ...templates].map(name => [name, `${name}-1`] as const), ...costs]
  return headers.length === 0 ? undefined : Object.fromEntries(headers)
}

/** Returns a payload with the fields that costs are read from. */
function payloadFor(rules: readonly CompiledRuleOptions[]): Readonly<Record<string, unknown>> {
  const payload: Record<string, unknown> = { value: 21.5, unit: 'C' }
  for (const { options } of rules.filter(isCounted)) {
    if (typeof options.cost !== 'object' || !('payload' in options.cost)) continue
    const [first = '', ...rest] = options.cost.payload.split('.')
    payload[first] = rest.reduceRight<unknown>((inner, name) => ({ [name]: inner }), 1)
  }
  return payload
}
