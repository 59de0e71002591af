import { COST_WEIGHTS } from '../chain/rules/rule-options.ts'
import { DEFAULT_TIERS } from '../chain/rules/tiers.ts'
import type { Problem } from '../core/errors.ts'
import type { Dialect, Operation } from '../core/message.ts'
import { parseBytes, parseQuota, parseRate } from '../core/units.ts'
import { parsePattern } from '../topic/pattern.ts'
import type { LoadedPolicy } from './compiled-policy-types.ts'
import { type Warn, warnOfCondition } from './condition-warnings.ts'
import { warnOfPolicyShadow } from './policy-shadow.ts'
import type { PolicyDocument, PolicyExemption, PolicyRule } from './schema.ts'

/** Lists of an exemption that name authenticated senders or addresses. */
const IDENTITIES = ['clients', 'devices', 'users', 'apiKeys', 'roles', 'ips'] as const

/** Sender lists of a rule and the part each compares. */
const FOR_PARTS = [
  ...([
    ['clients', 'client'],
    ['devices', 'device'],
    ['users', 'user'],
    ['apiKeys', 'apiKey'],
  ] as const),
  ...([
    ['roles', 'role'],
    ['tiers', 'tier'],
    ['ips', 'ip'],
  ] as const),
] as const

/** Scopes that name a sender, unless the policy derives them from message content. */
const SENDER_SCOPES = /^(?:global|client|device|user|apiKey|role|tier|ip(?:\/.*)?)$/

/** Returns true if a scope is the same for all messages of one sender. */
type IsFixed = (scope: string) => boolean

/** Parts of a sender that are known only if the policy defines their source. */
const SOURCED = ['device', 'apiKey', 'tier', 'role'] as const

/**
 * Returns probable mistakes in a valid policy: rules that can never pass or never refuse, exemptions that match no
 * sender, and limits that a sender avoids with new topics. Each has its position and remedy.
 */
export function findPolicyWarnings({ document, locate }: LoadedPolicy): readonly Problem[] {
  const warnings: Problem[] = []
  const warn: Warn = (path, message, remedy) => warnings.push({ ...locate(path), message, remedy })
  const dialect = document.dialect ?? 'mqtt'
  const rules = (document.rules ?? []).filter(({ enabled }) => enabled !== false)
  const exemptions = (document.exempt ?? []).filter(({ enabled }) => enabled !== false)
  const senders: Readonly<Record<string, unknown>> = document.senders ?? {}
  const isFixed: IsFixed = scope =>
    scope
      .split('|')
      .every(
        word =>
          SENDER_SCOPES.test(word) &&
          !/\{(?:topic|header)\./.test(JSON.stringify(senders[word === 'role' ? 'roles' : word] ?? '')),
      )
  if (rules.length === 0 && document.feedback === undefined && document.breaker === undefined) {
    warn(
      '',
      'the policy has no rules, so everything passes',
      'add a rule, as { name: client, per: client, limit: 10/s }',
    )
  }
  warnOfPolicyShadow(document, warn)
  document.rules?.forEach((rule, index) => {
    if (rule.enabled === false) return
    const path = `rules[${index}]`
    warnOfRule(rule, path, document, dialect, warn)
    warnOfMissingBackstop(rule, path, rules, isFixed, dialect, warn)
    const cover = exemptions.find(exemption => coversRule(exemption, rule, dialect))
    if (cover !== undefined) {
      const name = cover.name === undefined ? 'an exemption' : `the exemption "${cover.name}"`
      warn(path, `${name} lets every message of this rule pass`, 'narrow the exemption, or remove the rule')
    }
  })
  document.exempt?.forEach((exemption, index) => {
    if (exemption.enabled !== false)
      warnOfExemption(exemption, `exempt[${index}]`, document, isFixed, dialect, warn)
  })
  return warnings
}

function warnOfRule(
  rule: PolicyRule,
  path: string,
  document: PolicyDocument,
  dialect: Dialect,
  warn: Warn,
): void {
  const { topic, on = 'publish' } = rule
  if (topic !== undefined) {
    if (on === 'connect') warn(`${path}.topic`, 'a connect has no topic', 'remove `topic`')
    if (on === 'accept') warn(`${path}.topic`, 'an accepted socket has no topic', 'remove `topic`')
    warnOfOtherDialect(topic, dialect, `${path}.topic`, warn)
  }
  const outcome = typeof rule.exceeded === 'string' ? rule.exceeded : Object.keys(rule.exceeded ?? {})[0]
  warnOfCondition(rule.when, [on], dialect, `${path}.when`, warn)
  warnOfSenders(rule, path, document, warn)
  if (rule.quota !== undefined && outcome === 'throttle') {
    const remedy = 'use drop or reject: a quota refills only when its window ends'
    warn(`${path}.exceeded`, 'a quota that throttles holds senders for hours', remedy)
  }
  const most = capacityOf(rule)
  const least = leastCost(rule)
  if (most !== undefined && least > most) {
    const remedy = `raise the burst to at least ${least}, or lower the cost`
    warn(
      path,
      `nothing ever passes: each message costs at least ${least}, and the rule holds ${most}`,
      remedy,
    )
  }
  if (on === 'accept' && scopesOf(rule.per).some(scope => !/^(?:global|ip(?:\/.*)?)$/.test(scope))) {
    const remedy = 'use ip or global'
    warn(`${path}.per`, 'only the address of a socket is known when it is accepted', remedy)
    return
  }
  const captures = capturesOf(topic, dialect)
  for (const scope of scopesOf(rule.per)) {
    if (captures.includes(scope) || !isUnsourced(scope, document)) continue
    const remedy = `add senders.${scope === 'role' ? 'roles' : scope}, as ${scope}: "{topic.${scope}}" or "{user}"`
    warn(`${path}.per`, `no message has a ${scope}: nothing in the policy says where it comes from`, remedy)
  }
}

/** Warns about sender lists that match no sender, or every sender. */
function warnOfSenders(
  { for: senders, on }: PolicyRule,
  path: string,
  document: PolicyDocument,
  warn: Warn,
): void {
  const tiers = document.tiers && new Set([...Object.keys(DEFAULT_TIERS), ...Object.keys(document.tiers)])
  for (const [list, part] of FOR_PARTS) {
    const names = senders?.[list]
    const valuePath = `${path}.for.${list}`
    if (names?.length === 0) {
      warn(valuePath, 'matches no sender: the list is empty', 'name the senders, or remove the list')
    } else if (names !== undefined && isUnsourced(part, document)) {
      const matched = on === 'connect' ? 'every sender, as a connect does not say' : 'no sender'
      const remedy = `add senders.${part === 'role' ? 'roles' : part}, or use another list`
      warn(valuePath, `matches ${matched}: nothing in the policy says where a ${part} comes from`, remedy)
    }
  }
  senders?.tiers?.forEach((name, index) => {
    if (tiers === undefined || (tiers.has(name) && name !== 'assign')) return
    const message = `matches no sender: there is no tier ${JSON.stringify(name)}`
    warn(`${path}.for.tiers[${index}]`, message, `use one of ${[...tiers].join(', ')}`)
  })
}

/** Warns about a limit whose counters a sender can choose by message content, if no other rule bounds that sender. */
function warnOfMissingBackstop(
  rule: PolicyRule,
  path: string,
  rules: readonly PolicyRule[],
  isFixed: IsFixed,
  dialect: Dialect,
  warn: Warn,
): void {
  const { on = 'publish', topic } = rule
  if (on === 'connect' || on === 'accept' || !isRate(rule) || isBackstop(rule, isFixed)) return
  const bounded = rules.some(
    other =>
      other !== rule &&
      (other.on ?? 'publish') === on &&
      isBackstop(other, isFixed) &&
      isMeantForAll(other, rule) &&
      holdsFor(other, topic, dialect),
  )
  if (bounded) return
  const parts = [...new Set([...scopesOf(rule.per), ...partsOf(rule)])].filter(part => !isFixed(part))
  // In a shadow rule all of them may be fixed.
  if (parts.length === 0) return
  const remedy = 'add a rule per client or ip for the same topics'
  warn(`${path}.per`, `a sender that varies ${parts.join(' and ')} is never limited`, remedy)
}

/** Returns true if a rule bounds a sender for all topics, headers and payloads. */
function isBackstop(rule: PolicyRule, isFixed: IsFixed): boolean {
  return (
    (rule.shadow ?? false) === false &&
    isRate(rule) &&
    scopesOf(rule.per).every(isFixed) &&
    partsOf(rule).every(isFixed)
  )
}

/** Returns the parts of a sender that a rule compares. */
function partsOf(rule: PolicyRule): readonly string[] {
  return FOR_PARTS.flatMap(([list, part]) => (rule.for?.[list] === undefined ? [] : [part]))
}

/** Returns true if a rule applies to every message and sender that another rule applies to. */
function isMeantForAll(rule: PolicyRule, other: PolicyRule): boolean {
  return (['when', 'for'] as const).every(
    word => rule[word] === undefined || JSON.stringify(rule[word]) === JSON.stringify(other[word]),
  )
}

/** Returns true if a rule limits messages over time, not what is held or handled at once. */
function isRate({ limit, quota }: PolicyRule): boolean {
  return limit !== undefined || quota !== undefined
}

function holdsFor({ topic }: PolicyRule, other: string | undefined, dialect: Dialect): boolean {
  return topic === undefined || (other !== undefined && coversPattern(topic, other, dialect))
}

function warnOfExemption(
  exemption: PolicyExemption,
  path: string,
  document: PolicyDocument,
  isFixed: IsFixed,
  dialect: Dialect,
  warn: Warn,
): void {
  for (const [list, source] of [
    ['devices', 'device'],
    ['apiKeys', 'apiKey'],
    ['roles', 'role'],
  ] as const) {
    if (exemption[list] === undefined || !isUnsourced(source, document)) continue
    const remedy = `add senders.${source === 'role' ? 'roles' : source}, or use another list`
    warn(
      `${path}.${list}`,
      `matches no sender: nothing in the policy says where a ${source} comes from`,
      remedy,
    )
  }
  const on = exemption.on === undefined ? [] : [exemption.on].flat()
  const claimed = ['users', 'apiKeys', 'roles'] as const
  const others = ['topics', 'clients', 'devices', 'ips'] as const
  if (
    on.length === 1 &&
    on[0] === 'connect' &&
    claimed.some(list => exemption[list] !== undefined) &&
    others.every(list => exemption[list] === undefined)
  ) {
    const remedy = 'use ips or clients: a connect is decided before its user is checked'
    warn(`${path}.on`, 'matches no sender: on a connect, users, API keys and roles are not yet known', remedy)
  }
  exemption.topics?.forEach((topic, index) => {
    warnOfOtherDialect(topic, dialect, `${path}.topics[${index}]`, warn)
  })
  warnOfCondition(exemption.when, on as Operation[], dialect, `${path}.when`, warn)
  warnOfUnboundedExemption(exemption, path, isFixed, dialect, warn)
}

function warnOfUnboundedExemption(
  exemption: PolicyExemption,
  path: string,
  isFixed: IsFixed,
  dialect: Dialect,
  warn: Warn,
): void {
  if (IDENTITIES.some(list => exemption[list] !== undefined)) return
  const { topics = [], limit } = exemption
  // Only the broker itself publishes these topics.
  if (dialect === 'mqtt' && topics.length > 0 && topics.every(topic => topic.startsWith('$SYS'))) return
  if (limit === undefined) {
    const remedy = 'add limit: 10/s per client, or name the senders it is for'
    warn(path, 'every client that sends this passes all rules without a limit', remedy)
    return
  }
  const scopes = (parseRate(limit).per ?? 'global').split(',')
  if (scopes.every(isFixed)) return
  const remedy = 'count it per client or per ip'
  warn(`${path}.limit`, `a sender that varies ${scopes.join(' and ')} is never limited`, remedy)
}

function warnOfOtherDialect(topic: string, dialect: Dialect, path: string, warn: Warn): void {
  if (dialect === 'mqtt') {
    const isNats = !topic.includes('/') && /(?:^|\.)(?:\*|>)(?:\.|$)/.test(topic)
    const hasStar = topic.split('/').some(level => level === '*' || level === '>')
    if (!isNats && !hasStar) return
    const remedy = isNats ? 'add dialect: nats' : 'write + for one level, # for the rest'
    warn(path, `${JSON.stringify(topic)} matches only itself: * and > are wildcards of NATS`, remedy)
  } else if (/\//.test(topic) || /(?:^|\.)[+#](?:\.|$)/.test(topic)) {
    const remedy = 'write dots between levels, * for one level, > for the rest; or dialect: mqtt'
    warn(path, `${JSON.stringify(topic)} is written as a topic of MQTT`, remedy)
  }
}

function isUnsourced(scope: string, { senders, tiers }: PolicyDocument): boolean {
  if (!(SOURCED as readonly string[]).includes(scope)) return false
  if (scope === 'role') return senders?.roles === undefined
  if (scope === 'tier') return senders?.tier === undefined && tiers === undefined
  return senders?.[scope as 'device' | 'apiKey'] === undefined
}

/** Returns the maximum units a rule can hold; undefined if that depends on the window or is unlimited. */
function capacityOf(rule: PolicyRule): number | undefined {
  const text = rule.limit ?? rule.quota
  if (text === undefined) return undefined
  const { count, burst } = rule.limit === undefined ? parseQuota(text) : parseRate(text)
  const written = rule.burst === undefined ? burst : parseBytes(rule.burst)
  const isBucket = (rule.algorithm ?? 'token-bucket') === 'token-bucket' && rule.limit !== undefined
  if (rule.algorithm === 'leaky-bucket') return undefined
  const most = isBucket ? (written ?? count) : count
  return Number.isFinite(most) ? most : undefined
}

/** Returns the minimum cost of a message; 0 if there is none. */
function leastCost({ cost }: PolicyRule): number {
  if (typeof cost === 'number') return cost
  if (typeof cost === 'string') return cost === 'bytes' ? 0 : COST_WEIGHTS[cost]
  if (cost === undefined) return 0
  if ('bytes' in cost) return Math.max(cost.min ?? 1, overheadUnits(cost))
  if (!('topics' in cost)) return cost.min ?? 1
  const costs = [...Object.values(cost.topics), cost.default ?? 1]
  return Math.min(...costs.map(each => (typeof each === 'number' ? each : COST_WEIGHTS[each])))
}

/** Returns the units of overhead in a cost by bytes. */
function overheadUnits({
  bytes,
  overhead = 0,
}: {
  bytes: string
  overhead?: number | string | undefined
}): number {
  const block = bytes.startsWith('per') ? parseBytes(bytes.replace(/^per\s+/, '')) : 1
  return Math.ceil(parseBytes(overhead) / block)
}

function scopesOf(per: PolicyRule['per']): readonly string[] {
  return per === undefined ? ['global'] : [per].flat()
}

function capturesOf(topic: string | undefined, dialect: Dialect): readonly string[] {
  return topic === undefined ? [] : parsePattern(topic, dialect).captures.map(({ name }) => name)
}

/** Returns true if an exemption without limit and condition covers all messages of a rule. */
function coversRule(exemption: PolicyExemption, rule: PolicyRule, dialect: Dialect): boolean {
  const { topics, limit, when, on } = exemption
  if (limit !== undefined || when !== undefined || topics === undefined) return false
  if (on !== undefined && !([on].flat() as Operation[]).includes(rule.on ?? 'publish')) return false
  return topics.some(topic =>
    rule.topic === undefined
      ? topic === (dialect === 'mqtt' ? '#' : '>')
      : coversPattern(topic, rule.topic, dialect),
  )
}

/** Returns true if the first pattern matches every topic that the second one matches; false if that is unclear. */
function coversPattern(wide: string, narrow: string, dialect: Dialect): boolean {
  const [one, rest] = dialect === 'mqtt' ? ['+', '#'] : ['*', '>']
  const a = parsePattern(wide, dialect).levels
  const b = parsePattern(narrow, dialect).levels
  for (let index = 0; ; index++) {
    const [level, other] = [a[index], b[index]]
    if (level === rest) return other !== undefined || dialect === 'mqtt'
    if (level === undefined || other === undefined) return level === other
    if (other === rest || (level !== one && level !== other)) return false
  }
}
