import type { Explanation, LimitTrace } from '../chain/evaluation/explain.ts'
import { createSender, findSenderState } from '../chain/senders/sender-state.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Operation, Sender } from '../core/message.ts'
import { describeRefusal, toRefusalJson } from './describe-refusal.ts'
import { millisOrNull } from './json-values.ts'
import { sampleTopic } from './sample-topic.ts'
import type { SenderCard, SenderLimit } from './schemas/senders.ts'
import type { SenderName } from './sender-id.ts'
import type { AdminState } from './state/admin-state.ts'
import type { RefusalHistory } from './state/recent-refusals.ts'

interface AskedTopic {
  readonly topic: string
  readonly on: Operation
}

/** A sender, with what the rules that apply to it say about its topics. */
interface AskedSender {
  readonly live: Sender | undefined
  readonly history: RefusalHistory | undefined
  readonly identity: Sender
  readonly explanations: readonly Explanation[]
  /** Rules that were not asked, because their counter depends on an unknown topic or there are too many. */
  readonly notAsked: readonly string[]
}

/**
 * Asks about the topics that a sender used and was refused on last, and about one topic of every other rule: at most
 * `MAX_SIZES.cardTopics`, whatever the number of keys. Charges nothing.
 */
async function askSender({ gate, broker, refusals }: AdminState, name: SenderName): Promise<AskedSender> {
  const live = name.part === 'client' ? await broker?.senderOf?.(name.value) : undefined
  const history = refusals.find(name.part, name.value)
  const known: Sender = live ?? history?.sender ?? {}
  const { client, user, device, apiKey, ip, roles, tier } = known
  const given: Sender = { client, user, device, apiKey, ip, roles, tier, [name.part]: name.value }
  // A copy: explaining must not change the topics that the live sender remembers.
  const sender = createSender(given)
  const used = live === undefined ? [] : (findSenderState(live)?.recentTopics() ?? [])
  const refusedOn = (history?.refusals ?? []).filter(
    ({ topic }) => topic.length < MAX_SIZES.refusedTopicChars,
  )
  const topics = uniqueTopics([...used, ...refusedOn.toReversed()])
  const explanations: Explanation[] = []
  const explain = async ({ topic, on }: AskedTopic): Promise<void> => {
    explanations.push(await gate.explain({ topic, on, sender, size: 0 }))
  }
  for (const asked of topics.slice(0, MAX_SIZES.cardTopics)) await explain(asked)
  const identity = gate.senderOf({ topic: topics[0]?.topic ?? '_', sender, size: 0 })
  const onKnownTopics = [...explanations]
  const notAsked: string[] = []
  for (const rule of gate.rules()) {
    const info = gate.ruleOf(rule)
    if (info === undefined) continue
    const topic = sampleTopic(info, identity, gate.dialect)
    // On a sample topic of another rule, this one would show a counter that nobody uses.
    if (mentions(topic === undefined ? onKnownTopics : explanations, rule)) continue
    if (topic === undefined || explanations.length >= MAX_SIZES.cardTopics) notAsked.push(rule)
    else await explain({ topic, on: info.on })
  }
  if (explanations.length === 0) await explain({ topic: '_', on: 'publish' })
  return { live, history, identity, explanations, notAsked }
}

/** Returns the counters that a sender does not share with others, as far as they are known. */
export async function findSenderCounters(
  state: AdminState,
  name: SenderName,
): Promise<readonly { readonly rule: string; readonly key: string }[]> {
  const { explanations, notAsked } = await askSender(state, name)
  const counters = new Map<string, { readonly rule: string; readonly key: string }>()
  for (const { limits } of explanations) {
    for (const { rule, key, per } of limits) {
      if (per.some(scope => scope === name.part) && !notAsked.includes(rule))
        counters.set(`${rule}\n${key}`, { rule, key })
    }
  }
  return [...counters.values()]
}

/**
 * Returns the card of a sender: identity, runtime entries, what each rule leaves it, its last refusals. Charges nothing.
 */
export async function readSenderCard(state: AdminState, name: SenderName): Promise<SenderCard> {
  const { gate, broker } = state
  const { live, history, identity, explanations, notAsked } = await askSender(state, name)
  const entries = gate.entriesOf(identity)
  const limits = uniqueLimits(explanations).filter(({ rule }) => !notAsked.includes(rule))
  const lastRefusals = (history?.refusals ?? [])
    .map(refusal => toRefusalJson(refusal, gate.ruleOf(refusal.rule)?.unit))
    .reverse()
  return {
    id: `${name.part}:${name.value}`,
    identity: {
      client: identity.client,
      user: identity.user,
      device: identity.device,
      ip: identity.ip,
      roles: identity.roles,
      tier: identity.tier,
    },
    connected: broker?.senderOf === undefined || name.part !== 'client' ? null : live !== undefined,
    summary: summarise(explanations[0]?.ban, limits, lastRefusals[0]),
    bans: entries.bans,
    overrides: entries.overrides,
    tiers: entries.tiers,
    exemptions: coveringExemptions(explanations),
    limits,
    notAsked: [...notAsked],
    refusals: lastRefusals,
  }
}

function uniqueTopics(topics: readonly AskedTopic[]): readonly AskedTopic[] {
  return [...new Map(topics.map(({ topic, on }) => [`${on} ${topic}`, { topic, on }])).values()]
}

/** Returns true if a rule was evaluated, or excludes the sender itself. */
function mentions(explanations: readonly Explanation[], rule: string): boolean {
  return explanations.some(
    ({ limits, skipped, sizes, unchanged }) =>
      [...limits, ...sizes, ...unchanged].some(each => each.rule === rule) ||
      skipped.some(each => each.rule === rule && each.by === 'for'),
  )
}

/** Returns the limits of all explanations, each counter once, the ones that refuse first. */
function uniqueLimits(explanations: readonly Explanation[]): SenderLimit[] {
  const limits = new Map<string, SenderLimit>()
  for (const { topic, limits: traces } of explanations) {
    for (const trace of traces) {
      const id = `${trace.rule}\n${trace.key}`
      if (!limits.has(id)) limits.set(id, describeLimit(trace, topic))
    }
  }
  return [...limits.values()].sort((a, b) => Number(a.allowed) - Number(b.allowed) || share(a) - share(b))
}

function share({ limit, remaining }: SenderLimit): number {
  return limit === 0 ? 0 : remaining / limit
}

function describeLimit(trace: LimitTrace, topic: string): SenderLimit {
  const { rule, pattern, per, limit, unit, cost, allowed, shadow, algorithm } = trace
  // A verdict says what is left after the message that it allows.
  const remaining = Math.min(limit, Math.floor(trace.remaining + (allowed ? cost : 0)))
  return {
    rule,
    pattern,
    per,
    // API keys are secrets.
    counter: per.includes('apiKey') ? per.join(', ') : trace.counter,
    topic,
    limit,
    remaining,
    unit,
    allowed,
    shadow,
    algorithm,
    retryAfterMs: millisOrNull(trace.retryAfterMs),
    resetMs: millisOrNull(trace.resetMs),
    scaled: trace.scaled,
  }
}

function coveringExemptions(explanations: readonly Explanation[]): SenderCard['exemptions'] {
  const names = new Map<string, SenderCard['exemptions'][number]>()
  for (const { topic, exemptions } of explanations) {
    for (const { name = '(without a name)', covers, exempts } of exemptions) {
      if (covers && !names.has(name)) names.set(name, { name, topic, exempts })
    }
  }
  return [...names.values()]
}

/** Returns why the sender is refused, or that it is not, in one sentence. */
function summarise(
  ban: Explanation['ban'],
  limits: readonly SenderLimit[],
  last: SenderCard['refusals'][number] | undefined,
): string {
  if (ban !== undefined) return `Banned as ${ban.id}: ${ban.reason}.`
  const refusing = limits.find(({ allowed, shadow }) => !allowed && !shadow)
  if (refusing !== undefined) {
    const { rule, limit, remaining, unit, retryAfterMs } = refusing
    const text = describeRefusal(
      { rule, reason: 'rate_limit_exceeded', limit, remaining, retryAfterMs: retryAfterMs ?? Infinity },
      unit,
    )
    return `Throttled: ${text}.`
  }
  return last === undefined
    ? 'Passes; no refusal is known.'
    : `Passes now; the last refusal was: ${last.text}.`
}
