import type { Outcome } from '../../src/core/decision.ts'
import { UnsupportedError } from '../../src/core/errors.ts'
import type { Gate } from '../../src/index.ts'
import type { RuleInfo } from '../../src/outcomes/rule-info.ts'
import type { ConsumerFacts } from './client.ts'

/** What a rule may ask for in one place, and why not. */
export interface Place {
  /** As `subscription to a.>`. */
  readonly name: string
  /** Subjects it may bring; undefined for all. */
  readonly subjects: readonly string[] | undefined
  /** Outcomes that cannot be enacted there, with the reason and the remedy. */
  readonly cannot: ReadonlyMap<Outcome, string>
  /** Whether there is a connection that can redirect. */
  readonly publishes: boolean
}

const NO_DISCONNECT =
  'a consumer has no connection to whoever published, and cannot disconnect it (use drop or reject)'
const NO_RETRY_ON_CORE =
  'core NATS delivers nothing again (use throttle, queue or drop, or a JetStream consumer)'
const NO_DROP_IN_GROUP =
  'what one member of a queue group discards is lost to the whole group (use throttle, or say lossy: true)'
const NO_CONNECTION = 'there is no connection to redirect with (give limitNats a `connection`)'
const OTHER_DIALECT = "its topic is one of MQTT (write dialect: 'nats' in the rule)"

const EVERYWHERE: readonly (readonly [Outcome, string])[] = [['disconnect', NO_DISCONNECT]]

/** What no consumer of NATS can do. */
export const ANYWHERE: Place = {
  name: 'NATS',
  subjects: undefined,
  cannot: new Map(EVERYWHERE),
  publishes: true,
}

export function corePlace(
  subject: string,
  group: { readonly queue?: string; readonly lossy?: boolean },
): Place {
  const cannot = new Map<Outcome, string>([...EVERYWHERE, ['retry', NO_RETRY_ON_CORE]])
  if (group.queue !== undefined && group.lossy !== true)
    for (const outcome of ['drop', 'latest'] as const) cannot.set(outcome, NO_DROP_IN_GROUP)
  return { name: `the subscription to ${subject}`, subjects: [subject], cannot, publishes: true }
}

/** Requests are told when to come again, whatever the rule says. */
export function requestPlace(subject: string): Place {
  return {
    name: `the service on ${subject}`,
    subjects: [subject],
    cannot: new Map(EVERYWHERE),
    publishes: true,
  }
}

/** `all` acknowledges with one message all before it, `none` and ordered consumers acknowledge nothing. */
export function consumerPlace(facts: ConsumerFacts | undefined, publishes: boolean): Place {
  const { ack_policy: policy = 'explicit' } = facts?.config ?? {}
  const cannot = new Map<Outcome, string>(EVERYWHERE)
  if (policy !== 'explicit')
    cannot.set(
      'retry',
      `with ack policy "${policy}" no single message can be sent back (use ack policy explicit)`,
    )
  if (policy === 'all')
    for (const outcome of ['throttle', 'queue', 'latest'] as const)
      cannot.set(
        outcome,
        'with ack policy "all" a later message acknowledges those that are held (use ack policy explicit)',
      )
  return { name: 'the consumer', subjects: facts && subjectsOf(facts), cannot, publishes }
}

/** What a consumer is filtered by; undefined where it takes all of its stream. */
export function subjectsOf({ config }: ConsumerFacts): readonly string[] | undefined {
  if (config.filter_subjects?.length) return config.filter_subjects
  return config.filter_subject ? [config.filter_subject] : undefined
}

/** What rules of the gate ask for that cannot be done in a place, each with its remedy. */
export function findUnsupported(gate: Gate, place: Place): readonly string[] {
  const flaws = [...gate.held.names].map(([kind, rules]) => {
    const names = rules.map(rule => `"${rule}"`).join(', ')
    return `${place.name} cannot count ${kind}, which ${names} limits (a broker can: use topicgate/aedes)`
  })
  for (const [outcome, names] of gate.outcomes('publish')) {
    for (const name of names) {
      const facts = gate.ruleOf(name)
      // What goes by handlers is no rule, and asks for no more than its outcome.
      if (facts !== undefined && !meets(facts, place)) continue
      const asked = [outcome, facts?.exceeded.hold?.then, facts?.exceeded.queue?.then]
      for (const each of asked) {
        const why = each === undefined ? undefined : place.cannot.get(each)
        if (why !== undefined && !(each === 'drop' && outcome !== 'drop'))
          flaws.push(`${place.name} cannot enact "${each}", which "${name}" asks for: ${why}`)
      }
      if (outcome !== 'redirect' || facts === undefined) continue
      const why = facts.exceeded.redirect?.dialect === 'nats' ? undefined : OTHER_DIALECT
      if (why !== undefined || !place.publishes)
        flaws.push(`${place.name} cannot enact "redirect", which "${name}" asks for: ${why ?? NO_CONNECTION}`)
    }
  }
  return flaws
}

/** Throws UnsupportedError when a rule asks for what cannot be done in a place. */
export function assertSupported(gate: Gate, place: Place): void {
  const flaws = findUnsupported(gate, place)
  if (flaws.length > 0) throw new UnsupportedError(flaws.join('\n'))
}

function meets({ pattern }: RuleInfo, { subjects }: Place): boolean {
  if (pattern === undefined || subjects === undefined) return true
  return subjects.some(subject => mayMeet(pattern, subject))
}

/** Whether some subject is matched by both of two NATS patterns, of which the first may hold captures. */
export function mayMeet(pattern: string, filter: string): boolean {
  const a = pattern.split('.')
  const b = filter.split('.')
  for (let index = 0; ; index++) {
    const [one, other] = [a[index], b[index]]
    if (one === undefined || other === undefined) return one === other
    if (one === '>' || other === '>') return true
    if (!isWild(one) && !isWild(other) && one !== other) return false
  }
}

function isWild(token: string): boolean {
  return token === '*' || /^\{\w+\}$/.test(token)
}
