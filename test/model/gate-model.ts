import { createHash } from 'node:crypto'
import { holds } from './conditions.ts'
import { type Answer, ask, type Counter, charge, type Numbers, renumber, unseen } from './counter.ts'
import { compare, divide, type Fraction, floor, fraction, multiply } from './fraction.ts'
import type {
  AssignWords,
  BanWords,
  ExemptionWords,
  GivenTierWords,
  MessageWords,
  OverrideWords,
  Part,
  PenaltyWords,
  Policy,
  RunTimeExemptionWords,
  SenderListWords,
  SenderWords,
  Subject,
  TierWords,
} from './policy.ts'
import {
  byPriority,
  harshness,
  multiplied,
  numbersOf,
  pricedAt,
  type Rule,
  rulesOf,
  simpleRule,
  sizesOf,
  unitsOf,
} from './rules.ts'
import { matchTopic } from './topics.ts'
import { readDurationMs, readFactor, readRate } from './units.ts'

/** A decision, field by field as the gate's. */
export interface ModelDecision {
  allowed: boolean
  outcome: string
  reason: string
  rule?: string
  limit?: number
  remaining?: number
  retryAfterMs: number
  resetMs?: number
  shadow?: readonly string[]
  exemption?: string
  scaled?: Scaled
}

/** The numbers in force for a rule, after the load and an override. */
interface Granted {
  /** The name of its counters. */
  readonly counters: string
  readonly override: number | undefined
  readonly numbers: Numbers
  readonly passed: 'ok' | 'override'
  readonly scaled: Scaled | undefined
  /** Neither load nor behaviour change it. */
  readonly isFixed: boolean
}

/** A rule as it applies to one message. */
interface Applied extends Granted {
  readonly rule: Rule
  /** The counter this message counts on. */
  readonly key: string
  readonly cost: Fraction
  /** The part of the limit a conduct leaves. */
  readonly room: Fraction | undefined
}

interface Scaled {
  readonly factor: number
  readonly reason: string
}

interface Entry<T> {
  readonly id: string
  readonly words: T
  readonly serial: number
  readonly endsMs: number
}

/** The tiers of a policy that names none of their limits. */
const TIERS: Readonly<Record<string, TierWords>> = {
  free: { limit: '60/min burst 100' },
  basic: { limit: '600/min burst 500' },
  pro: { limit: '3000/min burst 2000' },
  enterprise: { limit: '12000/min burst 10000' },
  admin: { limit: 'unlimited' },
}

const PARTS: readonly Part[] = ['client', 'user', 'device', 'apiKey', 'ip']
const HOUR_MS = 3_600_000

/** The counters of a rule, or of a rule under one override. */
interface Counted {
  numbers: Numbers
  readonly rule: string
  readonly override: number | undefined
  readonly keys: Map<string, Counter>
}

/** Decides as the documentation says, from what it remembers of every message. */
export class GateModel {
  #policy: Policy
  #rules: readonly Rule[]
  /** The moment the gate goes by: the greatest the clock has shown. */
  #nowMs = 0
  #serial = 0
  readonly #counters = new Map<string, Counted>()
  readonly #bans = new Map<string, Entry<BanWords>>()
  readonly #overrides = new Map<string, Entry<OverrideWords>>()
  readonly #given = new Map<string, Entry<GivenTierWords>>()
  readonly #exemptions = new Map<string, Entry<RunTimeExemptionWords>>()
  readonly #offenders = new Map<string, Offender>()
  readonly #behaviourTracker = new Map<string, BehaviourLevel>()
  /** The level of the load, and the milder levels that the last readings called for. */
  #load: { readonly height: number; readonly milder: readonly number[]; readonly level: Scaled } | undefined

  constructor(policy: Policy) {
    this.#policy = policy
    this.#rules = rulesOf(policy)
  }

  /** Takes a reading of the clock; returns the greatest so far. */
  tick(shownMs: number): number {
    this.#nowMs = Math.max(this.#nowMs, shownMs)
    for (const entries of [this.#bans, this.#overrides, this.#given, this.#exemptions]) {
      for (const [id, { endsMs }] of entries) if (endsMs <= this.#nowMs) entries.delete(id)
    }
    return this.#nowMs
  }

  /** Decides a message and charges its limits. */
  check(message: MessageWords, shownMs: number): ModelDecision {
    const nowMs = this.tick(shownMs)
    const sender = this.#senderOf(message)
    const decision = this.#decide(message, sender, nowMs, true)
    this.#noteConduct(message, sender, decision, nowMs)
    // A withheld delivery is no offence of the client it was meant for.
    if (message.on !== 'deliver') this.#punish(sender, decision, nowMs)
    // A wait is counted from what the clock shows.
    return { ...decision, retryAfterMs: decision.retryAfterMs + behind(decision, nowMs - shownMs) }
  }

  /** One decision for each rule the message would meet, or that of its exemption or ban. */
  peek(message: MessageWords, shownMs: number): readonly ModelDecision[] {
    const nowMs = this.tick(shownMs)
    const sender = this.#senderOf(message)
    const ban = this.#banOf(sender)
    const late = (decision: ModelDecision): ModelDecision => ({
      ...decision,
      retryAfterMs: decision.retryAfterMs + behind(decision, nowMs - shownMs),
    })
    if (ban !== undefined) return [late(banned(ban, nowMs))]
    if (this.#isUnlimited(sender)) return []
    const exempt = this.#exempt(message, sender, nowMs, false)
    if (exempt.decision !== undefined) return [exempt.decision]
    const sized = this.#size(message, sender, nowMs)
    const counted = this.#applied(message, sender, nowMs).map(applied =>
      fold([{ ...applied, answer: this.#ask(applied, nowMs) }]),
    )
    return [...(sized.rule === undefined ? [] : [sized]), ...counted].map(decision =>
      late({ ...decision, retryAfterMs: Math.min(decision.retryAfterMs, exempt.waitMs) }),
    )
  }

  /** The decision a message would get now, of which nothing remains. */
  #decide(message: MessageWords, sender: SenderWords, nowMs: number, commit: boolean): ModelDecision {
    const ban = this.#banOf(sender)
    if (ban !== undefined) return banned(ban, nowMs)
    const flapped = this.#flap(message, sender, nowMs, commit)
    if (flapped !== undefined) return flapped
    if (this.#isUnlimited(sender)) return { ...PASSED, reason: 'override' }
    const { decision, waitMs } = this.#exempt(message, sender, nowMs, commit)
    if (decision !== undefined) return decision
    const sized = this.#size(message, sender, nowMs)
    if (!sized.allowed) return { ...sized, retryAfterMs: waitMs }
    const asked = this.#applied(message, sender, nowMs).map(applied => ({
      ...applied,
      answer: this.#ask(applied, nowMs),
    }))
    const isRefused = asked.some(({ rule, answer }) => !isSoft(rule) && !answer.allowed)
    if (commit) {
      for (const each of asked) this.#see(each, nowMs)
      if (!isRefused) for (const each of asked) if (each.answer.allowed) this.#charge(each, nowMs)
    }
    const folded = withSize(sized, fold(asked))
    if (!folded.allowed) return { ...folded, retryAfterMs: Math.min(folded.retryAfterMs, waitMs) }
    const isLifted = folded.rule === undefined && this.#liftsAny(message, sender, nowMs)
    return isLifted ? { ...folded, reason: 'override' } : folded
  }

  apply(policy: Policy, shownMs: number): void {
    const nowMs = this.tick(shownMs)
    this.#policy = policy
    this.#rules = rulesOf(policy)
    const names = new Set(this.#rules.map(({ name }) => name))
    for (const [name, { rule }] of this.#counters) {
      if (!names.has(rule) && !rule.includes(':')) this.#counters.delete(name)
    }
    this.#renumber(nowMs)
  }

  /** Forgets what was counted: one rule, or all. */
  reset(rule?: string): void {
    for (const name of [...this.#counters.keys()]) {
      if (rule === undefined || name === rule || name.endsWith(`\n${rule}`)) this.#counters.delete(name)
    }
  }

  /** Adds a ban; returns its id. */
  addBan(words: BanWords, shownMs: number): string {
    return this.#add(this.#bans, subjectId(words), words, shownMs)
  }

  removeBan(id: string): void {
    this.#bans.delete(id)
  }

  /** Adds an override; returns its id. */
  addOverride(words: OverrideWords, shownMs: number): string {
    const rules = words.rules === undefined ? '' : ` ${words.rules.toSorted().join(',')}`
    return this.#add(this.#overrides, subjectId(words) + rules, words, shownMs)
  }

  removeOverride(id: string): void {
    this.#overrides.delete(id)
  }

  giveTier(words: GivenTierWords, shownMs: number): void {
    this.#add(this.#given, subjectId(words), words, shownMs)
  }

  addExemption(words: RunTimeExemptionWords, shownMs: number): void {
    this.#add(this.#exemptions, words.name, words, shownMs)
  }

  removeExemption(name: string): void {
    this.#exemptions.delete(name)
  }

  /** Takes a reading of the load, 0 to 1. */
  readLoad(load: number, shownMs: number): void {
    const nowMs = this.tick(shownMs)
    const { adaptive } = this.#policy
    if (adaptive === undefined) return
    const levels = Object.entries(adaptive.levels).map(([name, words]) => {
      const [factor, upTo] = String(words).split(' up to ')
      return {
        factor: Number(factor),
        reason: `load ${name}`,
        upTo: Number.parseFloat(upTo ?? 'Infinity') / 100,
      }
    })
    const heightOf = (part: number): number => levels.filter(({ upTo }) => load > upTo * part).length
    const { height = 0, milder = [] } = this.#load ?? {}
    const mild = heightOf(0.9)
    // A harsher level holds at once, a milder one after two readings a tenth below its threshold.
    const seen = heightOf(1) >= height || mild >= height ? [] : [...milder, mild]
    const isOver = seen.length === 2
    const taken = heightOf(1) >= height ? heightOf(1) : isOver ? Math.max(...seen) : height
    this.#load = {
      height: taken,
      milder: isOver ? [] : seen,
      level: { factor: levels[taken]!.factor, reason: levels[taken]!.reason },
    }
    this.#renumber(nowMs)
  }

  #add<T extends { for?: number }>(
    entries: Map<string, Entry<T>>,
    id: string,
    words: T,
    shownMs: number,
  ): string {
    const nowMs = this.tick(shownMs)
    entries.delete(id)
    this.#serial++
    const endsMs = words.for === undefined ? Number.POSITIVE_INFINITY : nowMs + words.for
    entries.set(id, { id, words, serial: this.#serial, endsMs })
    return id
  }

  // Who is sending

  /** The sender, with the parts that the policy's templates fill. */
  #senderOf(message: MessageWords): SenderWords {
    const { senders = {}, tiers } = this.#policy
    const from = (tiers?.assign as AssignWords | undefined)?.from
    const templates = { ...senders, ...(from === undefined ? {} : { tier: from }) }
    const captures = new Map(
      this.#policy.rules.flatMap(({ topic }) => [
        ...((topic === undefined ? undefined : matchTopic(topic, message.topic)) ?? []),
      ]),
    )
    const filled: Record<string, unknown> = {}
    for (const [part, template] of Object.entries(templates)) {
      if (typeof template === 'string') {
        const text = fill(template, message, captures)
        if (text !== undefined) filled[part] = text
        continue
      }
      const roles = template.map[fill(template.from, message, captures) ?? '']
      if (roles !== undefined) filled.roles = roles
    }
    return { ...message.sender, ...filled }
  }

  #banOf(sender: SenderWords): Entry<BanWords> | undefined {
    return [...this.#bans.values()]
      .filter(({ words }) => isOf(words, sender))
      .toSorted(
        (a, b) =>
          Number(b.endsMs > a.endsMs) - Number(a.endsMs > b.endsMs) ||
          harshness(b.words.outcome ?? 'reject') - harshness(a.words.outcome ?? 'reject'),
      )[0]
  }

  #tierOf(sender: SenderWords): string | undefined {
    if (this.#policy.tiers === undefined) return undefined
    const known = (name: string | undefined): string | undefined =>
      name !== undefined && name !== 'assign' && this.#tierWords(name) !== undefined ? name : undefined
    const given = [...this.#given.values()]
      .filter(({ words }) => isOf(words, sender))
      .toSorted((a, b) => b.serial - a.serial)[0]
    const assign = this.#policy.tiers.assign as AssignWords | undefined
    return known(given?.words.tier ?? sender.tier) ?? assign?.default
  }

  /** The sender with the tier it is of under this policy. */
  #withTier(sender: SenderWords): SenderWords {
    if (this.#policy.tiers === undefined) return sender
    const { tier: _, ...rest } = sender
    const tier = this.#tierOf(sender)
    return tier === undefined ? rest : { ...rest, tier }
  }

  #tierWords(name: string): TierWords | undefined {
    const own = this.#policy.tiers as Record<string, TierWords>
    if (!Object.hasOwn(own, name) && !Object.hasOwn(TIERS, name)) return undefined
    return { ...TIERS[name], ...own[name] }
  }

  // Overrides

  #overridesOf(sender: SenderWords): readonly Entry<OverrideWords>[] {
    return [...this.#overrides.values()]
      .filter(({ words }) => isOf(words, sender))
      .toSorted((a, b) => b.serial - a.serial)
  }

  #overrideFor(rule: Rule, sender: SenderWords): Entry<OverrideWords> | undefined {
    return this.#overridesOf(sender).find(({ words }) => concerns(words, rule))
  }

  /** Whether the override that counts for all rules lifts them. */
  #isUnlimited(sender: SenderWords): boolean {
    const [last] = this.#overridesOf(sender)
    return last !== undefined && last.words.rules === undefined && last.words.limit === 'unlimited'
  }

  #liftsAny(message: MessageWords, sender: SenderWords, nowMs: number): boolean {
    return this.#rulesFor(message, sender, nowMs).some(
      ({ rule }) => this.#overrideFor(rule, sender)?.words.limit === 'unlimited',
    )
  }

  // Exemptions

  /** The exemption's decision; else the least wait after which one of them lets the message pass. */
  #exempt(
    message: MessageWords,
    sender: SenderWords,
    nowMs: number,
    commit: boolean,
  ): { readonly decision?: ModelDecision; readonly waitMs: number } {
    let waitMs = Number.POSITIVE_INFINITY
    for (const words of this.#exemptionsFor(message, sender, nowMs)) {
      const applied = this.#exemptionLimit(words, message, sender)
      if (applied !== undefined) {
        const answer = this.#ask(applied, nowMs)
        if (commit) this.#see(applied, nowMs)
        waitMs = Math.min(waitMs, answer.retryAfterMs)
        if (!answer.allowed) continue
        if (commit) this.#charge(applied, nowMs)
      }
      const plain = { allowed: true, outcome: 'deliver', reason: 'exempt', retryAfterMs: 0 }
      return { decision: { ...plain, exemption: words.name }, waitMs }
    }
    return { waitMs }
  }

  /** Exemptions that hold for a message, in the order in which they are asked. */
  #exemptionsFor(message: MessageWords, sender: SenderWords, nowMs: number): readonly ExemptionWords[] {
    const runTime = [...this.#exemptions.values()].map(({ words }) => words)
    const all: ExemptionWords[] = [...byPriority(runTime), ...byPriority(this.#policy.exempt ?? [])]
    return all.filter(
      words =>
        words.enabled !== false &&
        covers(words, message, sender) &&
        (words.when === undefined || holds(words.when, message, nowMs)),
    )
  }

  #exemptionLimit(words: ExemptionWords, message: MessageWords, sender: SenderWords): Applied | undefined {
    if (words.limit === undefined) return undefined
    const rule = simpleRule(`exempt:${words.name}`, words.limit, readRate(words.limit).per)
    if (rule.numbers === undefined) return undefined
    return {
      rule,
      counters: rule.name,
      override: undefined,
      key: keyOf(rule.per.length === 0 ? ['global'] : rule.per, message, sender, new Map(), undefined),
      numbers: rule.numbers,
      cost: pricedAt(unitsOf(rule.cost, message), 1000),
      ...{ passed: 'ok', scaled: undefined, room: undefined, isFixed: true },
    }
  }

  // Rules

  /** The decision of maximum sizes. */
  #size(message: MessageWords, sender: SenderWords, nowMs: number): ModelDecision {
    const larger = sizesOf(this.#policy)
      .map(rule => shadowFor({ ...rule, per: [] }, message, sender, new Map()))
      .filter(
        rule =>
          message.size > rule.maxBytes &&
          rule.on === message.on &&
          (rule.topic === undefined || matchTopic(rule.topic, message.topic) !== undefined) &&
          (rule.when === undefined || holds(rule.when, message, nowMs)) &&
          (rule.senders === undefined || isMeant(rule.senders, message, this.#withTier(sender))),
      )
    const names = larger.filter(({ isShadow }) => isShadow).map(({ name }) => name)
    const shadow = names.length === 0 ? {} : { shadow: names }
    const asked = larger.filter(({ isShadow }) => !isShadow)
    const [worst] = asked
      .filter(({ outcome }) => outcome !== 'degrade')
      .toSorted((a, b) => harshness(b.outcome) - harshness(a.outcome))
    const named = worst ?? asked[0]
    if (named === undefined) return { ...PASSED, ...shadow }
    return {
      allowed: worst === undefined,
      outcome: named.outcome,
      reason: 'too_large',
      rule: named.name,
      limit: named.maxBytes,
      retryAfterMs: worst === undefined ? 0 : Number.POSITIVE_INFINITY,
      ...shadow,
    }
  }

  /** The tier's limit and the rules that match a message, in the order in which they are asked. */
  #rulesFor(
    message: MessageWords,
    sender: SenderWords,
    nowMs: number,
  ): readonly { readonly rule: Rule; readonly captures: ReadonlyMap<string, string> }[] {
    const matching = this.#rules.flatMap(rule => {
      if (rule.on !== message.on || rule.numbers === undefined) return []
      if (rule.when !== undefined && !holds(rule.when, message, nowMs)) return []
      if (rule.senders !== undefined && !isMeant(rule.senders, message, this.#withTier(sender))) return []
      const captures = rule.topic === undefined ? new Map() : matchTopic(rule.topic, message.topic)
      return captures === undefined ? [] : [{ rule: shadowFor(rule, message, sender, captures), captures }]
    })
    const tier = this.#tierOf(sender)
    const limit = tier === undefined ? undefined : (this.#tierWords(tier)!.limit ?? 'unlimited')
    if (limit === undefined || message.on !== 'publish') return matching
    const isShadow = (this.#policy.shadow ?? false) !== false
    const own = { ...simpleRule(`tier:${tier}`, limit, ['sender']), isShadow }
    return own.numbers === undefined ? matching : [{ rule: own, captures: new Map() }, ...matching]
  }

  /** Rules as they apply to a message: after load, overrides, tier and behaviour. */
  #applied(message: MessageWords, sender: SenderWords, nowMs: number): readonly Applied[] {
    const tier = this.#tierOf(sender)
    const factor = readFactor(tier === undefined ? 'x1' : (this.#tierWords(tier)!.cost ?? 'x1'))
    return this.#rulesFor(message, sender, nowMs).flatMap(({ rule, captures }): Applied[] => {
      const key = keyOf(
        rule.per,
        message,
        sender,
        captures,
        { tier, pattern: rule.topic ?? '' },
        this.#policy,
      )
      const granted = effect(rule, this.#overrideFor(rule, sender), this.#load?.level)
      if (granted === undefined) return []
      const cost = pricedAt(unitsOf(rule.cost, message), factor)
      return [
        this.#compiledBehaviour({ ...granted, rule, key, cost, room: undefined }, message, sender, nowMs),
      ]
    })
  }

  #counterOf({ counters, key, numbers }: Applied, nowMs: number): Counter {
    return this.#counters.get(counters)?.keys.get(key) ?? unseen(numbers, nowMs)
  }

  #ask(applied: Applied, nowMs: number): Answer {
    return ask(applied.numbers, this.#counterOf(applied, nowMs), nowMs, applied.cost)
  }

  /** Remembers a key that is asked for the first time: a bucket that does not start full fills from now. */
  #see(applied: Applied, nowMs: number): void {
    this.#keep(applied, this.#counterOf(applied, nowMs))
  }

  #charge(applied: Applied, nowMs: number): void {
    this.#keep(applied, charge(applied.numbers, this.#counterOf(applied, nowMs), nowMs, applied.cost))
  }

  #keep({ counters, key, numbers, rule, override }: Applied, counter: Counter): void {
    const fresh = { numbers, rule: rule.name, override, keys: new Map<string, Counter>() }
    const counted = this.#counters.get(counters) ?? fresh
    counted.keys.set(key, counter)
    this.#counters.set(counters, counted)
  }

  /** Carries all counters over to the numbers that are in force from now on. */
  #renumber(nowMs: number): void {
    for (const [name, counted] of this.#counters) {
      const rule = this.#rules.find(each => each.name === counted.rule)
      if (rule === undefined) continue
      const override = [...this.#overrides.values()].find(({ serial }) => serial === counted.override)
      if (override === undefined && name !== rule.name) continue
      const { numbers } = effect(rule, override, this.#load?.level) ?? counted
      for (const [key, counter] of counted.keys) {
        counted.keys.set(key, renumber(counted.numbers, numbers, counter, nowMs))
      }
      counted.numbers = numbers
    }
  }

  // Penalties

  #punish(sender: SenderWords, decision: ModelDecision, nowMs: number): void {
    const isLimited = ['rate_limit_exceeded', 'quota_exceeded', 'too_large'].includes(decision.reason)
    const offences = ['drop', 'reject', 'retry', 'disconnect']
    if (decision.allowed || !isLimited || !offences.includes(decision.outcome)) return
    const own = this.#rules.find(({ name }) => name === decision.rule)?.penalties
    const penalty = own ?? this.#policy.penalties
    if (penalty === undefined || (penalty.after === undefined && penalty.flapping !== undefined)) return
    const whom = whoIs(sender, penalty.per ?? 'client')
    if (whom === undefined) return
    const [most, withinMs] = readCounted(penalty.after ?? '1 refusals in 1ms')
    const name = own === undefined ? '' : decision.rule!
    const offender = this.#offence(`${name}\n${whom.part}:${whom.text}`, most, withinMs, nowMs)
    if (offender !== undefined) this.#block(penalty, offender, whom, `refused ${most} times`, nowMs)
  }

  /** Counts a connect; the refusal of one that makes too many of its sender. */
  #flap(
    message: MessageWords,
    sender: SenderWords,
    nowMs: number,
    commit: boolean,
  ): ModelDecision | undefined {
    const { penalties } = this.#policy
    if (message.on !== 'connect' || penalties?.flapping === undefined || !commit) return undefined
    if ((this.#policy.shadow ?? false) !== false) return undefined
    // An override that lifts every limit is asked before exemptions, and lets no connect go uncounted.
    const exemptions = this.#isUnlimited(sender) ? [] : this.#exemptionsFor(message, sender, nowMs)
    if (exemptions.some(({ limit }) => limit === undefined)) return undefined
    let refused: ModelDecision | undefined
    const texts = typeof penalties.flapping === 'string' ? [penalties.flapping] : penalties.flapping
    for (const text of texts) {
      const [most, withinMs, per] = readCounted(text)
      const whom = whoIs(sender, (per as Part | undefined) ?? penalties.per ?? 'client')
      if (whom === undefined) continue
      const offender = this.#offence(`flapping\n${whom.part}:${whom.text}`, most, withinMs, nowMs)
      if (offender === undefined) continue
      this.#block(penalties, offender, whom, 'flapping', nowMs)
      refused = { ...REFUSED, retryAfterMs: offender.lengthMs }
    }
    return refused
  }

  /** One offence more; the offender if that is one too many, whose offences are then counted anew. */
  #offence(id: string, most: number, withinMs: number, nowMs: number): Offender | undefined {
    const offender = this.#offenders.get(id) ?? { times: [], blocks: 0, untilMs: 0, lengthMs: 0 }
    this.#offenders.set(id, offender)
    offender.times = [...offender.times.filter(time => time > nowMs - withinMs), nowMs]
    if (offender.times.length < most) return undefined
    offender.times = []
    return offender
  }

  #block(penalty: PenaltyWords, offender: Offender, whom: Whom, reason: string, nowMs: number): void {
    // A step back for each span as long as the last block that has passed since it ended.
    if (offender.lengthMs > 0 && nowMs > offender.untilMs) {
      const steps = Math.floor((nowMs - offender.untilMs) / offender.lengthMs)
      offender.blocks = Math.max(0, offender.blocks - steps)
    }
    offender.blocks++
    offender.lengthMs = blockLengthMs(penalty, offender.blocks)
    offender.untilMs = nowMs + offender.lengthMs
    this.addBan({ [whom.part]: whom.text, reason, for: offender.lengthMs }, nowMs)
  }

  // Behaviour

  #behaviourLevelOf(sender: SenderWords, nowMs: number): BehaviourLevel | undefined {
    const { behaviour } = this.#policy
    const whom = behaviour && whoIs(sender, behaviour.per ?? 'client')
    if (whom === undefined) return undefined
    const id = `${whom.part}:${whom.text}`
    const behaviourLevel = this.#behaviourTracker.get(id) ?? {
      hour: -1,
      asked: 0,
      refused: 0,
      wasGood: false,
      abusiveUntilMs: 0,
    }
    this.#behaviourTracker.set(id, behaviourLevel)
    const hour = Math.floor(nowMs / HOUR_MS)
    if (hour > behaviourLevel.hour) {
      const { asked, refused } = behaviourLevel
      const wasAbusive = behaviourLevel.abusiveUntilMs > behaviourLevel.hour * HOUR_MS
      const isGood = asked >= 10 && asked <= 1000 && refused < 0.05 * asked
      behaviourLevel.wasGood = hour === behaviourLevel.hour + 1 && !wasAbusive && isGood
      Object.assign(behaviourLevel, { hour, asked: 0, refused: 0 })
    }
    return behaviourLevel
  }

  #noteConduct(message: MessageWords, sender: SenderWords, decision: ModelDecision, nowMs: number): void {
    const behaviourLevel = message.on === 'publish' ? this.#behaviourLevelOf(sender, nowMs) : undefined
    if (behaviourLevel === undefined || decision.reason === 'banned') return
    if (!decision.allowed && ['throttle', 'queue', 'latest'].includes(decision.outcome)) return
    behaviourLevel.asked++
    if (nowMs < behaviourLevel.abusiveUntilMs) return
    if (!decision.allowed && decision.outcome !== 'redirect') behaviourLevel.refused++
    if (behaviourLevel.asked >= 10 && behaviourLevel.refused > behaviourLevel.asked / 2) {
      behaviourLevel.abusiveUntilMs = (behaviourLevel.hour + 2) * HOUR_MS
    }
  }

  #compiledBehaviour(applied: Applied, message: MessageWords, sender: SenderWords, nowMs: number): Applied {
    const { behaviour } = this.#policy
    if (behaviour === undefined || message.on !== 'publish' || applied.isFixed) return applied
    const behaviourLevel = this.#behaviourLevelOf(sender, nowMs)
    if (behaviourLevel === undefined) return applied
    const isAbusive = nowMs < behaviourLevel.abusiveUntilMs
    const word = isAbusive ? 'abusive' : behaviourLevel.wasGood ? 'good' : 'usual'
    const factor = { abusive: behaviour.abusive ?? 0.3, good: behaviour.good ?? 1.2, usual: 1 }[word]
    const byLoad = applied.scaled?.factor ?? 1
    // Of all that reduces the least counts; if nothing reduces, the greatest.
    const both = Math.min(byLoad, factor) < 1 ? Math.min(byLoad, factor) : Math.max(byLoad, factor)
    if (both === byLoad) return applied
    const room = fraction(BigInt(Math.round(both * 1000)), BigInt(Math.round(byLoad * 1000)))
    return {
      ...applied,
      cost: costIn(applied.cost, room, fraction(BigInt(applied.numbers.capacity))),
      scaled: { factor: both, reason: `behaviour ${word}` },
      room,
    }
  }
}

interface Offender {
  times: number[]
  blocks: number
  untilMs: number
  lengthMs: number
}

interface BehaviourLevel {
  hour: number
  asked: number
  refused: number
  wasGood: boolean
  abusiveUntilMs: number
}

interface Whom {
  readonly part: Part
  readonly text: string
}

const PASSED: ModelDecision = { allowed: true, outcome: 'deliver', reason: 'ok', retryAfterMs: 0 }
const REFUSED = { allowed: false, outcome: 'reject', reason: 'banned' }

function isSoft({ isShadow, outcome }: Rule): boolean {
  return isShadow || outcome === 'degrade'
}

/** A cost under a part of a limit, in thousandths, rounded down; what fits the whole limit still does. */
function costIn(cost: Fraction, room: Fraction, capacity: Fraction): Fraction {
  if (cost.top === 0n || compare(cost, capacity) > 0) return cost
  const thousandths = floor(multiply(divide(cost, room), fraction(1000n)))
  const priced = fraction(thousandths < 1n ? 1n : thousandths, 1000n)
  return compare(priced, capacity) > 0 ? capacity : priced
}

/** One decision of the answers to all rules of one message. */
function fold(asked: readonly (Applied & { readonly answer: Answer })[]): ModelDecision {
  const shadow = asked
    .filter(({ rule, answer }) => rule.isShadow && !answer.allowed)
    .map(({ rule }) => rule.name)
  const counted = asked.filter(({ rule }) => !rule.isShadow)
  const denied = counted.filter(({ rule, answer }) => !answer.allowed && !isSoft(rule))
  const degraded = counted.filter(({ rule, answer }) => !answer.allowed && isSoft(rule))
  const allowed = counted.filter(({ answer }) => answer.allowed)
  // `toSorted` keeps the order of equals: the first of them counts.
  const [worst] = denied.toSorted(
    (a, b) =>
      harshness(b.rule.outcome) - harshness(a.rule.outcome) ||
      Math.sign(Math.min(b.answer.retryAfterMs, 1e18) - Math.min(a.answer.retryAfterMs, 1e18)),
  )
  const [nearest] = allowed.toSorted(
    (a, b) => a.answer.remaining * b.numbers.capacity - b.answer.remaining * a.numbers.capacity,
  )
  const named = worst ?? degraded[0] ?? nearest
  if (named === undefined) return shadow.length === 0 ? PASSED : { ...PASSED, shadow }
  const { rule, answer, numbers, scaled, room } = named
  const refusal = rule.isQuota ? 'quota_exceeded' : 'rate_limit_exceeded'
  const part = (units: number): number =>
    room === undefined ? units : Number(floor(multiply(fraction(BigInt(units)), room)))
  return {
    allowed: worst === undefined,
    outcome: answer.allowed ? 'deliver' : rule.outcome,
    reason: answer.allowed ? named.passed : refusal,
    rule: rule.name,
    limit: Math.max(1, part(numbers.capacity)),
    remaining: part(answer.remaining),
    retryAfterMs: Math.max(0, ...denied.map(each => each.answer.retryAfterMs)),
    resetMs: answer.resetMs,
    ...(shadow.length === 0 ? {} : { shadow }),
    ...(scaled === undefined ? {} : { scaled }),
  }
}

/** What maximum sizes let pass, and what the limits say of it. */
function withSize(sized: ModelDecision, counted: ModelDecision): ModelDecision {
  const names = [...(sized.shadow ?? []), ...(counted.shadow ?? [])]
  const chosen = counted.allowed && sized.outcome === 'degrade' ? sized : counted
  return names.length === 0 ? chosen : { ...chosen, shadow: names }
}

/** The numbers of a rule under the load and an override; undefined if it is lifted or has none. */
function effect(
  rule: Rule,
  override: Entry<OverrideWords> | undefined,
  level: Scaled | undefined,
): Granted | undefined {
  if (rule.numbers === undefined || override?.words.limit === 'unlimited') return undefined
  const scaled = rule.isFixed || level === undefined || level.factor === 1 ? undefined : level
  const numbers =
    scaled === undefined ? rule.numbers : multiplied(rule.numbers, Math.round(scaled.factor * 1000))
  if (override === undefined) {
    return { counters: rule.name, override: undefined, numbers, passed: 'ok', scaled, isFixed: rule.isFixed }
  }
  // A rule under an override keeps algorithm, scope and cost, begins whole, and counts apart.
  const { serial, words } = override
  const plain = {
    counters: `override ${serial}\n${rule.name}`,
    override: serial,
    passed: 'override' as const,
  }
  if (words.limit.startsWith('x')) {
    const times = multiplied(numbers, readFactor(words.limit))
    return { ...plain, numbers: { ...times, initial: times.capacity }, scaled, isFixed: rule.isFixed }
  }
  const written = readRate(words.limit)
  const { calendar } = numbers
  const rate = { ...written, from: written.window === calendar?.unit ? calendar?.from : undefined }
  const replaced = numbersOf(rate, numbers.algorithm, undefined, numbers.calendar?.zone)!
  return { ...plain, numbers: replaced, scaled: undefined, isFixed: true }
}

/** Whether an override is for a rule: a calendar quota can hold rates of calendar windows only. */
function concerns({ limit, rules }: OverrideWords, { name, numbers }: Rule): boolean {
  if (rules !== undefined && !rules.includes(name)) return false
  const isRate = limit !== 'unlimited' && !limit.startsWith('x')
  return !isRate || numbers?.calendar === undefined || readRate(limit).window !== undefined
}

function banned({ words, endsMs }: Entry<BanWords>, nowMs: number): ModelDecision {
  return { ...REFUSED, outcome: words.outcome ?? 'reject', retryAfterMs: endsMs - nowMs }
}

function behind({ retryAfterMs, allowed }: ModelDecision, lateMs: number): number {
  return allowed || retryAfterMs === Number.POSITIVE_INFINITY ? 0 : lateMs
}

function subjectId(words: Subject): string {
  const part = PARTS.find(name => words[name] !== undefined)!
  return `${part}:${words[part]}`
}

/** Whether an entry is of a sender; an `ip` may be a block. */
function isOf(words: Subject, sender: SenderWords): boolean {
  const part = PARTS.find(name => words[name] !== undefined)!
  const [wanted, has] = [words[part]!, sender[part]]
  if (has === undefined || has === '') return false
  return part === 'ip' ? isWithin(has, wanted) : has === wanted
}

/** The part a sender is told apart by; instead of a client without a name, any other. */
function whoIs(sender: SenderWords, per: Part): Whom | undefined {
  const has = (part: Part): boolean => sender[part] !== undefined && sender[part] !== ''
  const part = has(per) ? per : per === 'client' ? PARTS.find(has) : undefined
  return part && { part, text: sender[part]! }
}

function isWithin(ip: string, block: string): boolean {
  const [network = '', bits = '32'] = block.split('/')
  return networkOf(ip, Number(bits)) === networkOf(network, Number(bits))
}

/** The first bits of an IPv4 address. */
function networkOf(ip: string, bits: number): bigint {
  const number = ip.split('.').reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)
  return number >> BigInt(32 - bits)
}

/** Whether the lists of an exemption hold. Before a password was checked, names that a user claims do not. */
function covers(words: ExemptionWords, message: MessageWords, sender: SenderWords): boolean {
  if (words.on !== undefined && !words.on.includes(message.on)) return false
  const isClaim = message.on === 'connect' && words.on === undefined
  const one = (list: readonly string[] | undefined, value: string | undefined): boolean | undefined =>
    list && value !== undefined && list.includes(value)
  const proven = [
    words.topics?.some(pattern => matchTopic(pattern, message.topic) !== undefined),
    one(words.clients, sender.client),
    one(words.devices, sender.device),
    words.ips?.some(block => sender.ip !== undefined && isWithin(sender.ip, block)),
  ]
  const claimed = [
    one(words.users, sender.user),
    one(words.apiKeys, sender.apiKey),
    words.roles?.some(role => sender.roles?.includes(role) ?? false),
  ]
  const all = [words.topics, words.clients, words.devices, words.ips, words.users, words.apiKeys, words.roles]
  if (all.every(list => list === undefined)) return true
  return (isClaim ? proven : [...proven, ...claimed]).includes(true)
}

/** Whether a rule is for a sender. Before a password was checked, what the sender does not say counts for the rule. */
function isMeant(words: SenderListWords, message: MessageWords, sender: SenderWords): boolean {
  const unsaid = message.on === 'connect'
  const one = (list: readonly string[] | undefined, value: string | undefined): boolean =>
    list !== undefined && ((value ?? '') === '' ? unsaid : list.includes(value!))
  const roles = sender.roles ?? []
  return [
    one(words.clients, sender.client),
    one(words.devices, sender.device),
    one(words.users, sender.user),
    one(words.apiKeys, sender.apiKey),
    one(words.tiers, sender.tier),
    words.roles !== undefined &&
      (roles.length === 0 ? unsaid : roles.some(role => words.roles!.includes(role))),
    words.ips?.some(block => (sender.ip === undefined ? unsaid : isWithin(sender.ip, block))),
  ].includes(true)
}

function fill(
  template: string,
  message: MessageWords,
  captures: ReadonlyMap<string, string>,
): string | undefined {
  let isWhole = true
  const text = template.replace(/\{([^}]+)\}/g, (_, name: string) => {
    const [kind, rest = ''] = name.split('.')
    const value =
      kind === 'header'
        ? message.headers?.[rest]
        : kind === 'topic'
          ? captures.get(rest)
          : message.sender[kind as 'client' | 'user' | 'ip']
    if (value === undefined || value === '') isWhole = false
    return value ?? ''
  })
  return isWhole ? text : undefined
}

/** Whose counter a message counts on. Senders that lack a part share one. */
function keyOf(
  per: readonly string[],
  message: MessageWords,
  sender: SenderWords,
  captures: ReadonlyMap<string, string>,
  known: { readonly tier: string | undefined; readonly pattern: string } | undefined,
  policy?: Policy,
): string {
  const part = (scope: string): string | undefined => {
    if (scope === 'global') return ''
    if (scope === 'sender') {
      const named =
        (['user', 'apiKey', 'client'] as const).find(name => (sender[name] ?? '') !== '') ?? 'client'
      return `${named}:${sender[named] ?? ''}`
    }
    if (scope === 'topic') return message.topic
    if (scope === 'pattern') return known?.pattern
    if (scope === 'role') return sender.roles?.[0]
    if (scope === 'tier') return policy?.tiers === undefined ? sender.tier : known?.tier
    if (scope === 'device') return sender.device || captures.get('device')
    if (scope.startsWith('header.')) return message.headers?.[scope.slice('header.'.length)]
    if (scope.startsWith('ip/')) {
      return sender.ip && String(networkOf(sender.ip, Number(scope.slice('ip/'.length))))
    }
    if (PARTS.includes(scope as Part)) return sender[scope as Part]
    return captures.get(scope)
  }
  return JSON.stringify(per.map(scope => part(scope) ?? ''))
}

/** A rule as it is for a sender, if it is in shadow for a share of them. */
function shadowFor<T extends Pick<Rule, 'per' | 'isShadow' | 'shadowShare'>>(
  rule: T,
  message: MessageWords,
  sender: SenderWords,
  captures: ReadonlyMap<string, string>,
): T {
  if (rule.shadowShare === undefined) return rule
  const named = rule.per.filter(
    scope => !['global', 'topic', 'pattern', 'role', 'tier'].includes(scope) && !scope.startsWith('header.'),
  )
  const written = JSON.parse(keyOf(named, message, sender, captures, undefined)) as string[]
  const parts = named.map((scope, index) =>
    scope.startsWith('ip/') && sender.ip ? writtenNetwork(sender.ip, scope) : written[index]!,
  )
  const key =
    parts.length === 0
      ? anyNameOf(sender)
      : parts.length === 1
        ? parts[0]!
        : parts.map(part => `${part.length}:${part}`).join('')
  const bits = createHash('sha256').update(key).digest('hex').slice(0, 8)
  return { ...rule, isShadow: Number.parseInt(bits, 16) / 2 ** 32 < rule.shadowShare }
}

/** An IPv4 network as it is written in keys: `10.0.0.0/24`. */
function writtenNetwork(ip: string, scope: string): string {
  const bits = Number(scope.slice('ip/'.length))
  const masked = networkOf(ip, bits) << BigInt(32 - bits)
  return `${[24n, 16n, 8n, 0n].map(shift => (masked >> shift) & 255n).join('.')}/${bits}`
}

/** The first name that a sender has; one that is no client has its number before it. */
function anyNameOf(sender: SenderWords): string {
  const names = (['client', 'user', 'device', 'apiKey', 'ip'] as const).map(part => sender[part] ?? '')
  const first = names.findIndex(name => name !== '')
  return first < 0 ? '' : first === 0 ? names[0]! : `${first}|${names[first]}`
}

/** `3 refusals in 10s`, `5 connects in 10s per ip`. */
function readCounted(text: string): [most: number, withinMs: number, per: string | undefined] {
  const [, most, within, per] = /^(\d+) \w+ in (\w+)(?: per (\w+))?$/.exec(text) ?? []
  return [Number(most), readDurationMs(within!), per]
}

function blockLengthMs({ block, grow }: PenaltyWords, nth: number): number {
  const [, factor, longest] = /^(x[\d.]+) up to (\w+)$/.exec(grow ?? 'x1 up to 365d') ?? []
  const times = (readFactor(factor!) / 1000) ** (nth - 1)
  return Math.min(readDurationMs(longest!), Math.floor(readDurationMs(block) * times))
}
