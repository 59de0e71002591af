import type { Decision } from '../core/decision.ts'
import { policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { type Dialect, isNamed, type Message } from '../core/message.ts'
import { checkOptionNames, type OptionNames } from '../core/option-names.ts'
import { GRAMMARS, validTopic } from '../topic/dialect.ts'
import { fill, parseTemplate, placesOf, type Template } from './template.ts'

export interface RedirectOptions {
  /**
   * The topic: a template with {topic}, {client}, {rule} or a capture of the rule's topic. Default: `dead/{topic}`,
   * on NATS `dead.{topic}`.
   */
  readonly to?: string | undefined
  /** Whether the reason goes along in headers, where the protocol has them. Default: true. */
  readonly headers?: boolean | undefined
}

const OPTIONS: OptionNames<RedirectOptions> = { to: true, headers: true }

export interface RedirectPlan {
  readonly to: Template
  readonly headers: boolean
  readonly dialect: Dialect
  /** Names that must be captures of the rule's topic. */
  readonly captures: readonly string[]
}

/** Present on what was redirected; holds the topic it came on. */
export const REDIRECTED_FROM = 'topicgate-redirected-from'

const OWN_PLACES: readonly string[] = ['topic', 'client', 'rule']
const NO_CAPTURES: ReadonlyMap<string, string> = new Map()

/** Compiles the options of `redirect`. Throws PolicyError for what can never be a topic, or is the same one again. */
export function compileRedirect(options: RedirectOptions, dialect: Dialect, path: string): RedirectPlan {
  checkOptionNames(options, OPTIONS, path)
  const { separator } = GRAMMARS[dialect]
  const text = options.to ?? `dead${separator}{topic}`
  const to = parseTemplate(String(text), `${path}.to`)
  if (
    !isTopic(
      fill(to, () => 'x'),
      dialect,
    )
  ) {
    const message = `${JSON.stringify(text.slice(0, 60))} is no topic a message can go to`
    throw policyError(`${path}.to`, message, 'write a topic without wildcards')
  }
  const places = placesOf(to)
  if (to.every(part => typeof part !== 'string' || part === separator)) {
    const message = 'nothing in it sets it apart from the topic a message came on'
    throw policyError(`${path}.to`, message, `write a level of your own, as dead${separator}{topic}`)
  }
  const captures = places.filter(name => !OWN_PLACES.includes(name))
  return { to, headers: options.headers ?? true, dialect, captures }
}

/** What is wrong with the captures of a plan, given those of its rule's topic; undefined where nothing is. */
export function findRedirectProblem(
  plan: RedirectPlan | undefined,
  captures: readonly string[],
): string | undefined {
  const unknown = plan?.captures.find(name => !captures.includes(name))
  if (unknown === undefined) return undefined
  const known = [...OWN_PLACES, ...captures].map(name => `{${name}}`).join(', ')
  return `{${unknown}} is no capture of the rule's topic; it may be ${known}`
}

/**
 * The topic a refused message goes to instead; undefined where there is none it may go to, and it is dropped: it
 * was redirected before, or what senders chose makes no topic. What is filled in makes one level each, but for the
 * topic itself; wildcards and separators in it become `_`. `captures` are those of the rule's pattern.
 */
export function redirectTopic(
  plan: RedirectPlan,
  message: Message,
  decision: Decision,
  captures: ReadonlyMap<string, string> = NO_CAPTURES,
): string | undefined {
  if (wasRedirected(plan, message)) return undefined
  const topic = fill(plan.to, name => {
    if (name === 'topic') return message.topic
    const text =
      name === 'client' ? message.sender.client : name === 'rule' ? decision.rule : captures.get(name)
    return asLevel(text, plan.dialect)
  })
  const startsSystem = topic[0] === '$' && String(plan.to[0])[0] !== '$'
  return isTopic(topic, plan.dialect) && !startsSystem ? topic : undefined
}

/** Why, and from where: headers or MQTT 5 user properties for what is redirected. One line each, bounded. */
export function redirectHeaders(
  plan: RedirectPlan,
  message: Message,
  decision: Decision,
): Readonly<Record<string, string>> {
  const headers: Record<string, string> = { [REDIRECTED_FROM]: asValue(message.topic) }
  if (!plan.headers) return headers
  headers['topicgate-reason'] = decision.reason
  if (decision.rule !== undefined) headers['topicgate-rule'] = asValue(decision.rule)
  if (isNamed(message.sender.client)) headers['topicgate-client'] = asValue(message.sender.client)
  return headers
}

/** By its header, or by its topic where the protocol has no headers: it looks like what the template makes. */
function wasRedirected({ to }: RedirectPlan, message: Message): boolean {
  try {
    if (message.headers !== undefined && Object.hasOwn(message.headers, REDIRECTED_FROM)) return true
  } catch {
    // Headers that cannot be read tell nothing.
  }
  const [first, last] = [to[0], to.at(-1)]
  if (to.length === 1) return message.topic === first
  const begins = typeof first !== 'string' || message.topic.startsWith(first)
  const ends = typeof last !== 'string' || message.topic.endsWith(last)
  return begins && ends
}

function isTopic(topic: string, dialect: Dialect): boolean {
  if (!validTopic(topic, dialect)) return false
  return dialect === 'mqtt' || !topic.split('.').some(token => token === '*' || token === '>')
}

const NO_LEVEL: Readonly<Record<Dialect, RegExp>> = {
  mqtt: /[/+#\p{Cc}\p{Cs}]/gu,
  nats: /[.*>\s\p{Cc}\p{Cs}]/gu,
}

function asLevel(text: string | undefined, dialect: Dialect): string {
  const level = (text ?? '').slice(0, MAX_SIZES.keyPartChars).replace(NO_LEVEL[dialect], '_')
  return level === '' ? '_' : level
}

function asValue(text: string): string {
  return text.slice(0, MAX_SIZES.fieldChars).replace(/[\p{Cc}\p{Cs}]/gu, '_')
}
