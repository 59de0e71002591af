import { type ChainEntry, getMiddlewareMeta } from '../chain/routing/plan-steps.ts'
import { isCompleteKey } from '../chain/rules/key-scope.ts'
import {
  describeResourceLimit,
  RESOURCE_KINDS,
  RESOURCE_OPERATIONS,
  type ResourceKind,
  type ResourceLimit,
} from '../chain/rules/resource-limit.ts'
import { type Decision, HARSHNESS } from '../core/decision.ts'
import type { Message, Sender } from '../core/message.ts'
import { captureLevels, matches, type Pattern } from '../topic/pattern.ts'

/** An item held by a broker: a connection, a subscription or a retained message. */
export interface BrokerResource {
  readonly kind: ResourceKind
  /** The message that created it, without its payload. */
  readonly message: Message
  /** Bytes of a retained message, including its topic. */
  readonly bytes: number
  /** True if its sender is known. Other items count only under rules whose key names no part of a sender. */
  readonly isOwned: boolean
  shares: readonly ResourceCount[]
}

interface ResourceCount {
  readonly rule: CountedRule
  readonly key: string
  readonly amount: number
}

interface CountedRule {
  readonly limit: ResourceLimit
  readonly pattern: Pattern | undefined
  /** The pattern without names of captures. */
  readonly filter: string | undefined
  /** Current amount by key. Keys with an amount of 0 are absent. */
  readonly counts: Map<string, number>
}

/** A broker that counts the items it holds. */
export interface ResourceHolder {
  /** Adds all held items of a kind that is counted from now on. */
  count(kind: ResourceKind): void
  /** Forgets all items of a kind that is no longer counted. */
  forget(kind: ResourceKind): void
}

/** The parts of a gate that the counts need. */
interface ResourceCountsHost {
  senderOf(message: Message): Sender
  /** Returns true if an exemption without a limit lets a message pass. */
  isExempt(message: Message): boolean
  /** Reports a refusal to listeners and counters. */
  report(decision: Decision, message: Message): void
}

export interface ResourceToCount {
  readonly kind: ResourceKind
  readonly message: Message
  readonly bytes?: number | undefined
  readonly isOwned?: boolean | undefined
  /** The item that it replaces, such as a retained message of the same topic. */
  readonly replaced?: BrokerResource | undefined
}

/**
 * Counts of connections, subscriptions, retained messages and their bytes, by the keys of the rules that
 * limit them. Brokers add and remove items; every item is counted once under each rule. Bounded by the number
 * of held items.
 */
export class ResourceCounts {
  readonly #host: ResourceCountsHost
  #limits: readonly CountedRule[] = []
  readonly #items = new Set<BrokerResource>()
  readonly #sources = new Set<ResourceHolder>()
  #kinds: ReadonlySet<ResourceKind> = new Set()

  constructor(host: ResourceCountsHost) {
    this.#host = host
  }

  /** Names of the rules, by the kind they limit. */
  get names(): ReadonlyMap<ResourceKind, readonly string[]> {
    const names = new Map<ResourceKind, string[]>()
    for (const { limit } of this.#limits)
      names.set(limit.resource, [...(names.get(limit.resource) ?? []), limit.name])
    return names
  }

  /** Returns true if any rule limits a kind. Other kinds are not counted. */
  isCounted(kind: ResourceKind): boolean {
    return this.#kinds.has(kind)
  }

  /** Returns the current amounts under a rule, by key. */
  heldUnder(rule: string): ReadonlyMap<string, number> {
    return new Map(this.#limits.find(({ limit }) => limit.name === rule)?.counts)
  }

  /** Adds a broker, which counts its held items at once. The returned function removes it. */
  attach(source: ResourceHolder): () => void {
    this.#sources.add(source)
    for (const kind of this.#kinds) source.count(kind)
    return () => {
      if (!this.#sources.delete(source)) return
      for (const kind of RESOURCE_KINDS) source.forget(kind)
    }
  }

  /** Returns and reports the refusal of a message that would exceed a limit. Counts nothing. */
  check(item: ResourceToCount): Decision | undefined {
    const refusal = this.#refusalOf(this.#createItem(item), item)
    if (refusal !== undefined) this.#host.report(refusal, item.message)
    return refusal
  }

  /** Counts an item in place of another, or returns a refusal and counts nothing. */
  add(added: ResourceToCount): BrokerResource | Decision {
    const item = this.#createItem(added)
    const refusal = this.#refusalOf(item, added)
    if (refusal !== undefined) return refusal
    return this.#addItem(item, added)
  }

  /** Counts an item that is held already, even if it exceeds a limit. */
  restore(held: ResourceToCount): BrokerResource {
    return this.#addItem(this.#createItem(held), held)
  }

  remove(item: BrokerResource | undefined): void {
    if (item === undefined || !this.#items.delete(item)) return
    for (const { rule, key, amount } of item.shares) {
      const left = (rule.counts.get(key) ?? 0) - amount
      if (left > 0) rule.counts.set(key, left)
      else rule.counts.delete(key)
    }
    item.shares = []
  }

  /** Returns a description of each rule that applies to a message, with the current amount. */
  describe(message: Message): readonly { readonly name: string; readonly description: string }[] {
    return this.#limits
      .filter(rule => RESOURCE_OPERATIONS[rule.limit.resource] === message.on && covers(rule, message))
      .filter(({ limit }) => limit.resource !== 'retained' || message.retain === true)
      .map(rule => {
        const held = rule.counts.get(this.#keyOf(rule, message)) ?? 0
        return {
          name: rule.limit.name,
          description: `${describeResourceLimit(rule.limit)}, ${held} held now`,
        }
      })
  }

  /** Follows the chain now in force and counts all held items again, even if they exceed a limit. */
  setEntries(entries: readonly ChainEntry[]): void {
    const limits = entries.flatMap(({ pattern, middleware }): CountedRule[] => {
      const meta = getMiddlewareMeta(middleware)
      if (meta?.kind !== 'resource' || !meta.enabled) return []
      const filter = pattern?.levels.join(pattern.dialect === 'mqtt' ? '/' : '.')
      return [{ limit: meta.limit, pattern, filter, counts: new Map() }]
    })
    if (limits.length === 0 && this.#limits.length === 0) return
    const before = this.#kinds
    this.#limits = limits
    this.#kinds = new Set(limits.map(({ limit }) => limit.resource))
    for (const item of this.#items) {
      item.shares = []
      if (this.#kinds.has(item.kind)) this.#share(item)
      else this.#items.delete(item)
    }
    for (const source of this.#sources) {
      for (const kind of RESOURCE_KINDS) {
        if (before.has(kind) && !this.#kinds.has(kind)) source.forget(kind)
        else if (!before.has(kind) && this.#kinds.has(kind)) source.count(kind)
      }
    }
  }

  #createItem({ kind, message, bytes = 0, isOwned = true }: ResourceToCount): BrokerResource {
    const { topic, on, sender, size, qos, retain, protocol } = message
    const withoutPayload: Message = { topic, on, sender, size, qos, retain, protocol }
    return { kind, message: withoutPayload, bytes, isOwned, shares: [] }
  }

  /** Exemptions read `message`, because they may need its payload. */
  #refusalOf(item: BrokerResource, { message, replaced }: ResourceToCount): Decision | undefined {
    let refusal: Decision | undefined
    for (const { rule, key, amount } of this.#sharesOf(item)) {
      const freed = replaced?.shares.find(share => share.rule === rule && share.key === key)?.amount ?? 0
      const held = (rule.counts.get(key) ?? 0) - freed + amount
      // An item smaller than the one it replaces passes, even after a limit was lowered.
      if (held <= rule.limit.max || amount <= freed) continue
      const other = rule.limit.refusal
      if (refusal === undefined || HARSHNESS[other.outcome] > HARSHNESS[refusal.outcome]) refusal = other
    }
    return refusal !== undefined && this.#host.isExempt(message) ? undefined : refusal
  }

  #addItem(item: BrokerResource, { message, replaced }: ResourceToCount): BrokerResource {
    this.remove(replaced)
    this.#items.add(item)
    // Exempt items take no room from others.
    if (!item.isOwned || !this.#host.isExempt(message)) this.#share(item)
    return item
  }

  #share(item: BrokerResource): void {
    item.shares = this.#sharesOf(item)
    for (const { rule, key, amount } of item.shares)
      rule.counts.set(key, (rule.counts.get(key) ?? 0) + amount)
  }

  #sharesOf(item: BrokerResource): ResourceCount[] {
    const shares: ResourceCount[] = []
    for (const rule of this.#limits) {
      if (rule.limit.resource !== item.kind || !covers(rule, item.message)) continue
      const key = this.#keyOf(rule, item.message)
      if (!item.isOwned && !isCompleteKey(rule.limit.keys.scopes, key)) continue
      shares.push({ rule, key, amount: rule.limit.isBytes ? item.bytes : 1 })
    }
    return shares
  }

  #keyOf({ limit, pattern }: CountedRule, message: Message): string {
    const captures = pattern === undefined ? new Map<string, string>() : captureLevels(pattern, message.topic)
    const sender = this.#host.senderOf(message)
    return limit.keys.keyOf({ message, sender, pattern: pattern?.text ?? '', captures })
  }
}

function covers({ filter, pattern }: CountedRule, message: Message): boolean {
  return filter === undefined || matches(filter, message.topic, pattern?.dialect)
}
