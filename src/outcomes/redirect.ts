import type { Decision } from '../core/decision.ts'
import { policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { type Dialect, isNonEmptyString, type Message } from '../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import { fillTemplate, parseTextTemplate, placeholdersOf, type Template } from '../core/text-template.ts'
import { GRAMMARS, validTopic } from '../topic/dialect.ts'

export interface RedirectOptions {
  /**
   * Target topic: a template with {topic}, {client}, {rule} or a capture of the rule's topic. Default: `dead/{topic}`,
   * on NATS `dead.{topic}`.
   */
  readonly to?: string | undefined
  /** Adds headers with the reason if the protocol has headers. Default: true. */
  readonly headers?: boolean | undefined
}

const OPTIONS: KnownOptions<RedirectOptions> = { to: true, headers: true }

export interface RedirectPlan {
  readonly to: Template
  readonly headers: boolean
  readonly dialect: Dialect
  /** Placeholders that must be captures of the rule's topic. */
  readonly captures: readonly string[]
}

/** Header of redirected messages. Its value is the original topic. */
export const REDIRECTED_FROM = 'topicgate-redirected-from'

const OWN_PLACEHOLDERS: readonly string[] = ['topic', 'client', 'rule']
const NO_CAPTURES: ReadonlyMap<string, string> = new Map()

/** Compiles the options of `redirect`. Throws PolicyError if the target can never be a topic or is the original topic. */
export function compileRedirect(options: RedirectOptions, dialect: Dialect, path: string): RedirectPlan {
  checkOptionNames(options, OPTIONS, path)
  const { separator } = GRAMMARS[dialect]
  const text = options.to ?? `dead${separator}{topic}`
  const to = parseTextTemplate(String(text), `${path}.to`)
  if (
    !isTopic(
      fillTemplate(to, () => 'x'),
      dialect,
    )
  ) {
    const message = `${JSON.stringify(text.slice(0, 60))} is not a topic that a message can be sent to`
    throw policyError(`${path}.to`, message, 'write a topic without wildcards')
  }
  const placeholders = placeholdersOf(to)
  if (to.every(part => typeof part !== 'string' || part === separator)) {
    const message = 'the target is the original topic'
    throw policyError(`${path}.to`, message, `add a level of your own, such as dead${separator}{topic}`)
  }
  const captures = placeholders.filter(name => !OWN_PLACEHOLDERS.includes(name))
  return { to, headers: options.headers ?? true, dialect, captures }
}

/** Returns the problem with a plan's captures, given those of its rule's topic, or undefined if none exists. */
export function findRedirectProblem(
  plan: RedirectPlan | undefined,
  captures: readonly string[],
): string | undefined {
  const unknown = plan?.captures.find(name => !captures.includes(name))
  if (unknown === undefined) return undefined
  const known = [...OWN_PLACEHOLDERS, ...captures].map(name => `{${name}}`).join(', ')
  return `{${unknown}} is not a capture of the rule's topic; use ${known}`
}

/**
 * Returns the topic that a refused message is redirected to. Returns undefined if it must be dropped, because it was
 * redirected before or the filled template is not a valid topic. A filled value makes exactly one level, except the
 * topic; wildcards and separators in it become `_`. `captures` are those of the rule's pattern.
 */
export function redirectTopic(
  plan: RedirectPlan,
  message: Message,
  decision: Decision,
  captures: ReadonlyMap<string, string> = NO_CAPTURES,
): string | undefined {
  if (isRedirected(plan, message)) return undefined
  const topic = fillTemplate(plan.to, name => {
    if (name === 'topic') return message.topic
    const text =
      name === 'client' ? message.sender.client : name === 'rule' ? decision.rule : captures.get(name)
    return toLevel(text, plan.dialect)
  })
  const isSystemTopic = topic[0] === '$' && String(plan.to[0])[0] !== '$'
  return isTopic(topic, plan.dialect) && !isSystemTopic ? topic : undefined
}

/** Returns the headers or MQTT 5 user properties of a redirected message. Values are bounded and on one line. */
export function redirectHeaders(
  plan: RedirectPlan,
  message: Message,
  decision: Decision,
): Readonly<Record<string, string>> {
  const headers: Record<string, string> = { [REDIRECTED_FROM]: toHeaderValue(message.topic) }
  if (!plan.headers) return headers
  headers['topicgate-reason'] = decision.reason
  if (decision.rule !== undefined) headers['topicgate-rule'] = toHeaderValue(decision.rule)
  if (isNonEmptyString(message.sender.client))
    headers['topicgate-client'] = toHeaderValue(message.sender.client)
  return headers
}

/** Returns true if the message has the header or, without headers, a topic that matches the template. */
function isRedirected({ to }: RedirectPlan, message: Message): boolean {
  try {
    if (message.headers !== undefined && Object.hasOwn(message.headers, REDIRECTED_FROM)) return true
  } catch {
    // Unreadable headers count as none.
  }
  const [first, last] = [to[0], to.at(-1)]
  if (to.length === 1) return message.topic === first
  const hasPrefix = typeof first !== 'string' || message.topic.startsWith(first)
  const hasSuffix = typeof last !== 'string' || message.topic.endsWith(last)
  return hasPrefix && hasSuffix
}

function isTopic(topic: string, dialect: Dialect): boolean {
  if (!validTopic(topic, dialect)) return false
  return dialect === 'mqtt' || !topic.split('.').some(token => token === '*' || token === '>')
}

const NO_LEVEL: Readonly<Record<Dialect, RegExp>> = {
  mqtt: /[/+#\p{Cc}\p{Cs}]/gu,
  nats: /[.*>\s\p{Cc}\p{Cs}]/gu,
}

function toLevel(text: string | undefined, dialect: Dialect): string {
  const level = (text ?? '').slice(0, MAX_SIZES.keyPartChars).replace(NO_LEVEL[dialect], '_')
  return level === '' ? '_' : level
}

function toHeaderValue(text: string): string {
  return text.slice(0, MAX_SIZES.fieldChars).replace(/[\p{Cc}\p{Cs}]/gu, '_')
}
