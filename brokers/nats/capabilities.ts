import {
  describeUnsupported,
  describeUnsupportedResourceLimits,
} from '../../src/broker-support/unsupported-outcomes.ts'
import type { Outcome } from '../../src/core/decision.ts'
import type { Gate } from '../../src/gate/gate.ts'
import type { RuleInfo } from '../../src/outcomes/rule-info.ts'
import type { ConsumerInfo } from './client-types.ts'

/** Capabilities of a message source: outcomes that can be enacted, and reasons for the others. */
export interface Capabilities {
  /** Name in errors, such as `the subscription to a.>`. */
  readonly name: string
  /** Subjects of its messages, or undefined for all. */
  readonly subjects: readonly string[] | undefined
  /** Outcomes that cannot be enacted, with the reason and the remedy. */
  readonly unsupported: ReadonlyMap<Outcome, string>
  /** True if there is a connection that can redirect. */
  readonly canPublish: boolean
}

const NO_DISCONNECT =
  'a consumer has no connection to the publisher, so it cannot disconnect it (use drop or reject)'
const NO_RETRY_ON_CORE = 'core NATS does not redeliver (use throttle, queue or drop, or a JetStream consumer)'
const NO_DROP_IN_GROUP =
  'a message that one member of a queue group discards is lost to the group (use throttle, or set lossy: true)'
const NO_CONNECTION = 'there is no connection to redirect with (give limitNats a `connection`)'
const OTHER_DIALECT = "its topic is an MQTT topic (write dialect: 'nats' in the rule)"

const UNSUPPORTED_EVERYWHERE: readonly (readonly [Outcome, string])[] = [['disconnect', NO_DISCONNECT]]

/** Capabilities of every NATS source. */
export const NATS_CAPABILITIES: Capabilities = {
  name: 'NATS',
  subjects: undefined,
  unsupported: new Map(UNSUPPORTED_EVERYWHERE),
  canPublish: true,
}

export function subscriptionCapabilities(
  subject: string,
  group: { readonly queue?: string; readonly lossy?: boolean },
): Capabilities {
  const unsupported = new Map<Outcome, string>([...UNSUPPORTED_EVERYWHERE, ['retry', NO_RETRY_ON_CORE]])
  if (group.queue !== undefined && group.lossy !== true)
    for (const outcome of ['drop', 'latest'] as const) unsupported.set(outcome, NO_DROP_IN_GROUP)
  return { name: `the subscription to ${subject}`, subjects: [subject], unsupported, canPublish: true }
}

/** Returns the capabilities of a service. Requests get a retry time whatever the rule's outcome. */
export function serviceCapabilities(subject: string): Capabilities {
  return {
    name: `the service on ${subject}`,
    subjects: [subject],
    unsupported: new Map(UNSUPPORTED_EVERYWHERE),
    canPublish: true,
  }
}

/** Returns the capabilities of a consumer. Ack policy `all` acknowledges all earlier messages too; `none` acknowledges none. */
export function consumerCapabilities(info: ConsumerInfo | undefined, canPublish: boolean): Capabilities {
  const { ack_policy: policy = 'explicit' } = info?.config ?? {}
  const unsupported = new Map<Outcome, string>(UNSUPPORTED_EVERYWHERE)
  if (policy !== 'explicit')
    unsupported.set(
      'retry',
      `with ack policy "${policy}" no single message can be sent back (use ack policy explicit)`,
    )
  if (policy === 'all')
    for (const outcome of ['throttle', 'queue', 'latest'] as const)
      unsupported.set(
        outcome,
        'with ack policy "all" a later message acknowledges those that are held (use ack policy explicit)',
      )
  return { name: 'the consumer', subjects: info && readFilterSubjects(info), unsupported, canPublish }
}

/** Returns the filter subjects of a consumer, or undefined if it receives all of its stream. */
export function readFilterSubjects({ config }: ConsumerInfo): readonly string[] | undefined {
  if (config.filter_subjects?.length) return config.filter_subjects
  return config.filter_subject ? [config.filter_subject] : undefined
}

/** Returns the problems of a gate's rules with a source, each with its remedy. */
export function findUnsupported(gate: Gate, capabilities: Capabilities): readonly string[] {
  const problems = [...describeUnsupportedResourceLimits(gate, capabilities.name)]
  const addProblem = (outcome: Outcome, rule: string, reason: string): void => {
    problems.push(describeUnsupported(capabilities.name, `"${outcome}"`, [rule], reason))
  }
  for (const [outcome, names] of gate.outcomes('publish')) {
    for (const name of names) {
      const ruleInfo = gate.ruleOf(name)
      // Limits by handler feedback are not rules and need nothing but their outcome.
      if (ruleInfo !== undefined && !coversSubjects(ruleInfo, capabilities)) continue
      const requiredOutcomes = [outcome, ruleInfo?.exceeded.hold?.then, ruleInfo?.exceeded.queue?.then]
      for (const required of requiredOutcomes) {
        const reason = required === undefined ? undefined : capabilities.unsupported.get(required)
        if (reason !== undefined && !(required === 'drop' && outcome !== 'drop'))
          addProblem(required!, name, reason)
      }
      if (outcome !== 'redirect' || ruleInfo === undefined) continue
      const reason = ruleInfo.exceeded.redirect?.dialect === 'nats' ? undefined : OTHER_DIALECT
      if (reason !== undefined || !capabilities.canPublish)
        addProblem('redirect', name, reason ?? NO_CONNECTION)
    }
  }
  return problems
}

function coversSubjects({ pattern }: RuleInfo, { subjects }: Capabilities): boolean {
  if (pattern === undefined || subjects === undefined) return true
  return subjects.some(subject => patternsOverlap(pattern, subject))
}

/** Returns true if some subject matches both NATS patterns. The first may have captures. */
export function patternsOverlap(pattern: string, filter: string): boolean {
  const a = pattern.split('.')
  const b = filter.split('.')
  for (let index = 0; ; index++) {
    const [one, other] = [a[index], b[index]]
    if (one === undefined || other === undefined) return one === other
    if (one === '>' || other === '>') return true
    if (!isWildcard(one) && !isWildcard(other) && one !== other) return false
  }
}

function isWildcard(token: string): boolean {
  return token === '*' || /^\{\w+\}$/.test(token)
}
