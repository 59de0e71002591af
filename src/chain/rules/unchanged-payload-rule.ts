import { createHash } from 'node:crypto'
import { compileCondition } from '../../conditions/compile.ts'
import type { Condition, ConditionSpec } from '../../conditions/condition.ts'
import { holdsFor } from '../../conditions/condition.ts'
import { type Decision, HARSHNESS, PASSED } from '../../core/decision.ts'
import { checkWithPathPrefix, policyError } from '../../core/errors.ts'
import { hashLongPart } from '../../core/hash-long-part.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Message, Sender } from '../../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import { parseDuration } from '../../core/units.ts'
import { compileExceeded, type ExceededPlan } from '../../outcomes/exceeded.ts'
import { captureLevels, type Pattern } from '../../topic/pattern.ts'
import { createKeyMaker, isCompleteKey, type KeyMaker } from './key-scope.ts'
import type { UnchangedPayloadOptions } from './rule-options.ts'
import { type CoversSender, compileForLists, type SenderMatchLists } from './sender-filter.ts'
import { compileShadow, type Shadow } from './shadow.ts'

/** A rule that refuses messages whose payload equals the last one of their topic. It counts nothing. */
export interface UnchangedRule extends Shadow {
  readonly name: string
  readonly description?: string | undefined
  readonly on: 'publish'
  readonly outcome: 'drop' | 'reject'
  readonly exceeded: ExceededPlan
  readonly keys: KeyMaker
  /** True if the key is the topic alone. */
  readonly isByTopic: boolean
  /** Age at which an equal payload passes again; Infinity for never. */
  readonly upToMs: number
  readonly when?: Condition | undefined
  readonly whenSpec?: ConditionSpec | undefined
  readonly covers?: CoversSender | undefined
  readonly forLists?: SenderMatchLists | undefined
}

/** Metadata of the middleware of an `unchanged` rule. */
export interface UnchangedMiddlewareMeta {
  readonly kind: 'unchanged'
  readonly enabled: boolean
  readonly priority: number
  readonly rule?: undefined
  readonly unchanged: UnchangedRule
}

/** An `unchanged` rule in a plan. */
export interface UnchangedRuleInPlan {
  readonly rule: UnchangedRule
  readonly pattern: Pattern | undefined
  /** False for senders that the rule is not for. It still records what they publish. */
  readonly isAsked: boolean
}

const OUTCOMES: readonly string[] = ['drop', 'reject']

const UNCHANGED: KnownOptions<UnchangedPayloadOptions> = {
  name: true,
  description: true,
  on: true,
  unchanged: true,
  upTo: true,
  per: true,
  for: true,
  exceeded: true,
  when: true,
  shadow: true,
  enabled: true,
  priority: true,
  dialect: true,
}

/** Compiles an `unchanged` rule. Throws PolicyError. */
export function compileUnchangedRule(options: UnchangedPayloadOptions): UnchangedMiddlewareMeta {
  checkOptionNames(options, UNCHANGED)
  const { name, description, on = 'publish', unchanged: outcome, per = 'client' } = options
  if (typeof name !== 'string' || name === '')
    throw policyError('name', 'a rule needs a name', 'its refusals contain it: give each rule its own')
  if (on !== 'publish') {
    const message = `\`unchanged\` compares what is published, not a ${String(on)}`
    throw policyError('on', message, 'remove `on`')
  }
  if ((options.exceeded as unknown) !== undefined)
    throw policyError('exceeded', 'the outcome is the value of `unchanged`', 'write unchanged: drop')
  if (!OUTCOMES.includes(outcome)) {
    const shown = typeof outcome === 'string' ? JSON.stringify(outcome) : String(outcome)
    throw policyError('unchanged', `${shown} is not possible here`, `use one of ${OUTCOMES.join(', ')}`)
  }
  const scopes = typeof per === 'string' ? [per] : [...per]
  const others = scopes.filter(scope => scope !== 'topic' && scope !== 'global' && scope !== 'pattern')
  const upToMs =
    options.upTo === undefined ? Infinity : checkWithPathPrefix('upTo', () => parseDuration(options.upTo!))
  const { shadow, partialShadow } = compileShadow(options.shadow, per)
  const unchanged: UnchangedRule = {
    name,
    description,
    on,
    outcome,
    upToMs,
    shadow,
    exceeded: compileExceeded(outcome, options.dialect),
    keys: createKeyMaker(scopes.includes('topic') ? scopes : [...scopes, 'topic']),
    isByTopic: others.length === 0,
    when: options.when === undefined ? undefined : compileCondition(options.when, 'when'),
    whenSpec: options.when,
    covers: options.for === undefined ? undefined : compileForLists(options.for, on),
    forLists: options.for,
    partialShadow,
  }
  return { kind: 'unchanged', enabled: options.enabled ?? true, priority: options.priority ?? 0, unchanged }
}

/** The payload that passed last under a key: a topic, or a sender on a topic. */
interface LastPayload {
  /** Identifies the rule. */
  readonly id: string
  /** Undefined if the last payload is not known. */
  digest: string | undefined
  passedAtMs: number
  /** The message that was checked last and has no decision yet. */
  pending: Message | undefined
}

/** Outcomes that leave subscribers with the payload that they have. */
const REFUSED: ReadonlySet<string> = new Set(['redirect', 'drop', 'reject', 'disconnect'])

/**
 * Digests of the payloads that passed last, by rule, topic and sender. A message is unchanged if its digest equals both
 * the last one of its topic and the last one of its own key. Why both: a sender that repeats a value must pass after
 * another sender has published a different one. Bounded: of too many keys those unused for the longest are forgotten,
 * and their next message passes.
 */
export class LastPayloads {
  readonly #payloads = new Map<string, LastPayload>()
  /** The message whose digest was computed last, until its decision is recorded. */
  #digested: Message | undefined
  #digest: string | undefined

  /** Number of keys. */
  get size(): number {
    return this.#payloads.size
  }

  /** Returns the milliseconds after which an unchanged message passes; undefined if it may pass. Records nothing. */
  waitOf(
    { rule, pattern }: UnchangedRuleInPlan,
    message: Message,
    identity: Sender,
    nowMs: number,
  ): number | undefined {
    if (message.duplicate === true || isClearing(message)) return undefined
    const id = idOf(rule, pattern)
    const last = this.#payloads.get(topicKey(id, message))
    if (last?.digest === undefined || (last.pending ?? message) !== message) return undefined
    const own = rule.isByTopic ? last : this.#payloads.get(ownKey(id, rule, pattern, message, identity) ?? '')
    if (own?.digest !== last.digest || (own.pending ?? message) !== message) return undefined
    const ageMs = nowMs - own.passedAtMs
    if (ageMs >= rule.upToMs || this.#digestOf(message) !== last.digest) return undefined
    return rule.upToMs - ageMs
  }

  /** Treats the last payloads of a message's keys as unknown until `record` is called for it. */
  markPending(rules: readonly UnchangedRuleInPlan[], message: Message, identity: Sender): void {
    for (const planned of rules) {
      for (const key of keysOf(planned, message, identity)) {
        const id = idOf(planned.rule, planned.pattern)
        const known = this.#payloads.get(key) ?? { id, digest: undefined, passedAtMs: 0, pending: undefined }
        known.pending = message
        this.#put(key, known)
      }
    }
  }

  /** Records a decision. `wasPending` is true if the message was marked as pending. */
  record(
    rules: readonly UnchangedRuleInPlan[],
    message: Message,
    identity: Sender,
    decision: Decision,
    nowMs: number,
    wasPending: boolean,
  ): void {
    const { outcome, reason } = decision
    const isKept = REFUSED.has(outcome)
    // A degraded message is not what its sender published.
    const digest = outcome === 'deliver' && !isClearing(message) ? this.#digestOf(message) : undefined
    for (const planned of rules) {
      for (const key of keysOf(planned, message, identity)) {
        const known = this.#payloads.get(key)
        // A message that was checked later is not decided yet: either may be the last to pass.
        const isLast = wasPending ? known?.pending === message : known?.pending === undefined
        if (known?.pending === message) known.pending = undefined
        if (isKept) {
          if (known !== undefined && reason === 'unchanged') this.#put(key, known)
        } else if (isLast && digest !== undefined) {
          const id = idOf(planned.rule, planned.pattern)
          this.#put(key, { id, digest, passedAtMs: nowMs, pending: undefined })
        } else if (known?.pending !== undefined) known.digest = undefined
        else this.#payloads.delete(key)
      }
    }
    this.#digested = undefined
    this.#digest = undefined
  }

  /** Forgets the last payloads of a message's keys, so that its next message passes. */
  forget(rules: readonly UnchangedRuleInPlan[], message: Message, identity: Sender): void {
    for (const planned of rules)
      for (const key of keysOf(planned, message, identity)) this.#payloads.delete(key)
  }

  /** Forgets the payloads of rules that are no longer in force. */
  retain(rules: readonly Omit<UnchangedRuleInPlan, 'isAsked'>[]): void {
    const ids = new Set(rules.map(({ rule, pattern }) => idOf(rule, pattern)))
    for (const [key, { id }] of this.#payloads) if (!ids.has(id)) this.#payloads.delete(key)
  }

  /** Forgets the payloads of one rule, or of all. Returns the number of keys. */
  forgetRule(name?: string): number {
    const before = this.#payloads.size
    for (const [key, { id }] of this.#payloads)
      if (name === undefined || id.startsWith(`[${JSON.stringify(name)},`)) this.#payloads.delete(key)
    return before - this.#payloads.size
  }

  #put(key: string, payload: LastPayload): void {
    this.#payloads.delete(key)
    this.#payloads.set(key, payload)
    if (this.#payloads.size <= MAX_SIZES.lastPayloads) return
    for (const oldest of this.#payloads.keys()) {
      this.#payloads.delete(oldest)
      return
    }
  }

  /** Returns the digest of the payload and the retain flag; undefined if the payload cannot be read. */
  #digestOf(message: Message): string | undefined {
    if (this.#digested !== message) {
      const bytes = message.bytes?.()
      this.#digested = message
      this.#digest =
        bytes &&
        createHash('sha256')
          .update(message.retain === true ? '1' : '0')
          .update(bytes)
          .digest('base64url')
    }
    return this.#digest
  }
}

/**
 * Returns the decision of `unchanged` rules about a message; undefined if it may pass. The harshest refusal counts, the
 * first on a tie. Records nothing.
 */
export function decideUnchanged(
  rules: readonly UnchangedRuleInPlan[],
  payloads: LastPayloads,
  message: Message,
  identity: Sender,
  nowMs: number,
): Decision | undefined {
  let worst: UnchangedRule | undefined
  let retryAfterMs = 0
  let shadow: string[] | undefined
  for (const planned of rules) {
    const { rule } = planned
    if (!planned.isAsked || !holdsFor(rule, message, nowMs)) continue
    const waitMs = payloads.waitOf(planned, message, identity, nowMs)
    if (waitMs === undefined) continue
    if (rule.shadow) {
      shadow ??= []
      shadow.push(rule.name)
      continue
    }
    retryAfterMs = Math.max(retryAfterMs, waitMs)
    if (worst === undefined || HARSHNESS[rule.outcome] > HARSHNESS[worst.outcome]) worst = rule
  }
  if (worst === undefined) return shadow === undefined ? undefined : { ...PASSED, shadow }
  return {
    allowed: false,
    outcome: worst.outcome,
    reason: 'unchanged',
    rule: worst.name,
    retryAfterMs,
    shadow,
  }
}

/** Reports whether a message removes the retained message of its topic. */
function isClearing({ retain, size }: Message): boolean {
  return retain === true && size === 0
}

const NO_CAPTURES: ReadonlyMap<string, string> = new Map()

/** One text for each rule and pattern. */
const IDS = new WeakMap<UnchangedRule, Map<string, string>>()

/** Returns the id of a rule. Rules with another scope or topic have another id, as they compare other messages. */
function idOf(rule: UnchangedRule, pattern: Pattern | undefined): string {
  const text = pattern?.text ?? ''
  const ids = IDS.get(rule) ?? new Map<string, string>()
  IDS.set(rule, ids)
  const id = ids.get(text) ?? `${JSON.stringify([rule.name, rule.keys.scopes, text])}\n`
  ids.set(text, id)
  return id
}

function keysOf(
  { rule, pattern }: UnchangedRuleInPlan,
  message: Message,
  identity: Sender,
): readonly string[] {
  const id = idOf(rule, pattern)
  const own = rule.isByTopic ? undefined : ownKey(id, rule, pattern, message, identity)
  return own === undefined ? [topicKey(id, message)] : [topicKey(id, message), own]
}

function topicKey(id: string, { topic }: Message): string {
  return `${id}topic\n${hashLongPart(topic)}`
}

/** Returns the key of a sender on a topic; undefined if the sender lacks a part, as then it cannot be told from others. */
function ownKey(
  id: string,
  { keys }: UnchangedRule,
  pattern: Pattern | undefined,
  message: Message,
  identity: Sender,
): string | undefined {
  const captures = pattern === undefined ? NO_CAPTURES : captureLevels(pattern, message.topic)
  const key = keys.keyOf({ message, sender: identity, pattern: pattern?.text ?? '', captures })
  return isCompleteKey(keys.scopes, key) ? `${id}sender\n${key}` : undefined
}
