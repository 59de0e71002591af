import type { Decision } from '../../core/decision.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { MaybePromise, Message, Operation, Sender } from '../../core/message.ts'
import type { PassDecision } from '../evaluation/combine-verdicts.ts'
import type { PartialShadowRule } from '../routing/partial-shadow-rules.ts'
import type { ExemptStep, PlanStep } from '../routing/plan-steps.ts'
import type { Rule } from '../rules/create-limit-middleware.ts'
import type { BehaviourCount, CompiledBehaviourFactors } from './behaviour-tracker.ts'
import type { Ban } from './sender-runtime-settings.ts'
import {
  type FourSlots,
  INLINE_SLOTS,
  NO_GENERATION,
  NO_SLOT,
  readGeneration,
  readSlot,
  StateSlotBlock,
  writeSlot,
} from './state-slot-block.ts'

/** A rule that may be for some senders only. */
export type SelectiveRule = Pick<Rule, 'name' | 'covers' | 'forLists'>

interface BaseEvaluator<Kind extends string, Answer = MaybePromise<Decision>> {
  readonly kind: Kind
  decide(message: Message, senderState: SenderState, nowMs: number): Answer
}

/** Evaluator of a chain whose limits are all in the memory store. */
export interface MemoryChainEvaluator extends BaseEvaluator<'memory', Decision> {
  /** A faster evaluator with the same decisions for senders without an exemption, if all rules are plain token buckets. */
  readonly buckets: BaseEvaluator<'token-buckets'> | undefined
}

/** Evaluator of banned senders; it looks at nothing of the message. */
export interface BannedSenderEvaluator extends BaseEvaluator<'banned', Decision> {
  readonly ban: Ban
}

/** Evaluator that counts connects before the chain decides about them. */
interface ConnectCountingEvaluator extends BaseEvaluator<'connect'> {
  confirm(message: Message, senderState: SenderState, nowMs: number): Decision | undefined
  peek(message: Message, senderState: SenderState, nowMs: number): Decision | undefined
}

/** Evaluator that chooses a plan by the behaviour of the sender. */
interface LevelEvaluator extends BaseEvaluator<'behaviour'> {
  planFor(senderState: SenderState, nowMs: number): BehaviourLevelSteps
}

/** Plan for senders of one behaviour level. */
export interface BehaviourLevelSteps {
  readonly steps: readonly PlanStep[]
  readonly evaluator: Pick<BaseEvaluator<string>, 'decide'>
}

/** Evaluates the messages of a sender: one implementation for each kind of chain. */
export type Evaluator =
  | MemoryChainEvaluator
  | BaseEvaluator<'token-buckets'>
  | BaseEvaluator<'store'>
  | BannedSenderEvaluator
  | ConnectCountingEvaluator
  | LevelEvaluator

/** Steps and evaluator of one action on one route. */
export interface OperationPlan {
  readonly steps: readonly PlanStep[]
  /** Exemptions among the steps. */
  readonly exempts: readonly ExemptStep[]
  /** Decision if no rule applies. */
  readonly passed: PassDecision
  readonly evaluator: Evaluator
  /** Rules that are for some senders only. */
  readonly selective: readonly SelectiveRule[]
  /** Rules that are in shadow for a share of the senders. */
  readonly partial: readonly PartialShadowRule[]
  /** Rules of the route that are not for the senders of this plan. */
  readonly notFor: readonly SelectiveRule[]
  /** Plans of senders made so far, by the exemptions that cover the sender. */
  readonly senderPlans: Map<string, SenderPlan>
  /** Variants for senders that some rules are not for, or that have a tier or overrides, by what makes them differ. */
  readonly variants: Map<string, OperationPlan>
}

/**
 * A plan specialised for senders covered by the same exemptions. Exemptions by identity are resolved once, because no
 * message can change them. Shared by all these senders, so that it stays in the CPU's cache.
 */
export interface SenderPlan {
  /** The plan's evaluator, or a faster one with the same decisions for senders without exemptions. */
  readonly evaluator: Evaluator
  readonly plan: OperationPlan
  /** Exemptions that cover the sender but must be asked about each message; all come before `exempt`. */
  readonly conditional: readonly ExemptStep[]
  /** Decision of the first exemption that holds for every message. */
  readonly exempt: Decision | undefined
}

/** Behaviour count of a sender, and the policy words it was found by. */
export interface BehaviourState {
  readonly identity: Sender
  readonly compiledBehaviour: CompiledBehaviourFactors
  /** Undefined for a sender without a name. */
  readonly count: BehaviourCount | undefined
}

/** Route table of a gate, as far as a sender state knows it. */
export interface RouteTableInfo {
  /** False if every decision makes a new sender state. */
  readonly canReuseStates: boolean
  readonly gate: object
}

/** Number of finds after which a further topic becomes the topic of the sender's own state. */
const FINDS_PER_PROMOTION = 16
/**
 * Beyond the maximum, a new topic replaces the topic used last. Every so many replacements, it replaces the next one in
 * a round instead.
 */
const REPLACEMENTS_PER_TURN = 8
/** Keeps a counter a small integer. */
const COUNTER_MASK = 0xffff

/** Topics of a sender beyond the one in its own state. */
class FurtherTopics {
  readonly states: SenderState[] = []
  /** The one used last. */
  last: SenderState | undefined = undefined
  #counter = 0

  /** Counts a repeated find or a replacement. */
  count(): number {
    this.#counter = (this.#counter + 1) & COUNTER_MASK
    return this.#counter
  }
}

const STATE: unique symbol = Symbol('topicgate.senderState')

/**
 * A sender with its cached state: a topic, its plan, and for each rule the slot of its key with the slot's
 * generation. One object, with the first slots as fields. Why: with a million senders, each further object costs a
 * cache miss of 100 to 250 ns. Separate objects for sender, binding and slots took twice the time.
 *
 * Each further topic of the sender has a state of its own, so that a change of topic copies nothing.
 */
export class SenderState implements Sender, FourSlots {
  /**
   * For analytics: time of the last count of this sender, with its tier. First field, in a cache line that is
   * read anyway.
   */
  analyticsSlice = 0
  /** Route table that the fields below belong to. If the gate has another one, they are invalid. */
  routes: RouteTableInfo | undefined = undefined
  owner: Sender
  topic = ''
  on: Operation = 'publish'
  senderPlan: SenderPlan | undefined = undefined
  /** Slots and generations of the first rules. The memory evaluator reads them without a call. */
  slot0 = NO_SLOT
  generation0 = NO_GENERATION
  slot1 = NO_SLOT
  generation1 = NO_GENERATION
  slot2 = NO_SLOT
  generation2 = NO_GENERATION
  /** For analytics: the latest series of refusals of this sender on this topic; 0 if none. */
  refusalSeries = 0
  slot3 = NO_SLOT
  generation3 = NO_GENERATION
  /** Sender with the parts added by `senders` of the policy. */
  identity: Sender
  readonly tier: string | undefined
  #moreSlots: StateSlotBlock | undefined = undefined
  /** Keys by rule index, for stores that use keys. */
  keys: (string | undefined)[] | undefined = undefined
  /** Headers that identify the sender, if a policy says so. */
  headerKey: string | undefined = undefined
  /** Further topics, in the sender's own state. One field, because most senders have one topic. */
  #further: FurtherTopics | undefined = undefined
  /** The further topic that followed last time: after this one, and in the sender's own state after the last one. */
  #expected: SenderState | undefined = undefined
  /** Count of its behaviour, if it is tracked. */
  behaviourState: BehaviourState | undefined = undefined
  readonly client: string | undefined
  readonly user: string | undefined
  readonly device: string | undefined
  readonly apiKey: string | undefined
  readonly ip: string | undefined
  readonly roles: readonly string[] | undefined

  /** `owner` is the sender object in messages, if it is another object. */
  constructor(sender: Sender, owner?: Sender) {
    this.owner = owner ?? this
    this.identity = this.owner
    this.client = sender.client
    this.user = sender.user
    this.device = sender.device
    this.apiKey = sender.apiKey
    this.ip = sender.ip
    this.roles = sender.roles
    this.tier = sender.tier
  }

  /** Returns the identity of a message's sender, which may be another object than the owner, with the same parts. */
  identityOf(sender: Sender): Sender {
    return this.identity === this.owner ? sender : this.identity
  }

  /** Returns the sender for logs and explanations. */
  toJSON(): Sender {
    const { client, user, device, apiKey, ip, roles, tier } = this
    return { client, user, device, apiKey, ip, roles, tier }
  }

  slotOf(index: number): number {
    return index < INLINE_SLOTS
      ? readSlot(this, index)
      : (this.#moreSlots?.slotOf(index - INLINE_SLOTS) ?? NO_SLOT)
  }

  generationOf(index: number): number {
    return index < INLINE_SLOTS
      ? readGeneration(this, index)
      : (this.#moreSlots?.generationOf(index - INLINE_SLOTS) ?? NO_GENERATION)
  }

  /** Caches the slot of a rule's key. */
  setSlot(index: number, slot: number, generation: number): void {
    if (index < INLINE_SLOTS) writeSlot(this, index, slot, generation)
    else {
      this.#moreSlots ??= new StateSlotBlock()
      this.#moreSlots.setSlot(index - INLINE_SLOTS, slot, generation)
    }
  }

  /** Returns the topics of this sender under its current routes, those used last first as far as known. */
  recentTopics(): readonly { readonly topic: string; readonly on: Operation }[] {
    if (this.senderPlan === undefined) return []
    const { states, last } = this.#further ?? { states: [], last: undefined }
    const others = states.filter(other => other !== last).reverse()
    return [...(last === undefined ? [] : [last]), this, ...others].map(({ topic, on }) => ({ topic, on }))
  }

  /**
   * Returns the state of one of the sender's topics under the same routes; undefined if it is not known. First
   * compares the topic that followed the last one before, because most senders use their topics in turn.
   */
  findTopic(topic: string, on: Operation, headerKey?: string): SenderState | undefined {
    if (this.topic === topic && this.on === on && this.headerKey === headerKey) return this
    const expected = this.#expected
    if (
      expected !== undefined &&
      expected.topic === topic &&
      expected.on === on &&
      expected.headerKey === headerKey
    )
      return SenderState.#useOther(this, this.#further!, expected)
    const further = this.#further
    if (further === undefined) return undefined
    const { states } = further
    for (let index = 0; index < states.length; index++) {
      const other = states[index]!
      if (other.topic !== topic || other.on !== on || other.headerKey !== headerKey) continue
      if (further.last !== undefined) further.last.#expected = other
      return SenderState.#useOther(this, further, other)
    }
    return undefined
  }

  /** Returns a state for a topic that is not known: this one if it is outdated or unused, else that of a further topic. */
  stateForNewTopic(routes: RouteTableInfo, topic: string): SenderState {
    if (this.routes !== routes) {
      this.#further = undefined
      this.#expected = undefined
      return this
    }
    // Long topics take much memory, so a sender has at most one.
    if (topic.length > MAX_SIZES.cachedTopicChars) return this
    this.#further ??= new FurtherTopics()
    const further = this.#further
    const other = SenderState.#otherForNewTopic(this, further)
    if (further.last !== undefined) further.last.#expected = other
    further.last = other
    this.#expected = other.#expected
    return other
  }

  /** Sets topic, plan and identity, and forgets what was cached for an earlier topic. */
  setTopic(
    routes: RouteTableInfo,
    topic: string,
    on: Operation,
    senderPlan: SenderPlan,
    identity: Sender,
  ): void {
    this.routes = routes
    this.topic = topic
    this.on = on
    this.senderPlan = senderPlan
    this.identity = identity
    this.analyticsSlice = 0
    this.refusalSeries = 0
    this.generation0 = NO_GENERATION
    this.generation1 = NO_GENERATION
    this.generation2 = NO_GENERATION
    this.generation3 = NO_GENERATION
    this.#moreSlots = undefined
    this.keys = undefined
  }

  // The following are static. Why: private methods would add a field to each object, before all others.

  static #useOther(senderState: SenderState, further: FurtherTopics, other: SenderState): SenderState {
    const isRepeated = further.last === other
    further.last = other
    senderState.#expected = other.#expected
    if (!isRepeated || senderState.topic.length > MAX_SIZES.cachedTopicChars) return other
    if (further.count() % FINDS_PER_PROMOTION !== 0) return other
    SenderState.#exchangeTopics(senderState, other)
    return senderState
  }

  /** Most topics of a sender that uses too many in turn stay known, because the one used last is replaced. */
  static #otherForNewTopic(senderState: SenderState, further: FurtherTopics): SenderState {
    const { states } = further
    if (states.length < MAX_SIZES.topicsPerSender) {
      const made = new SenderState(senderState, senderState.owner)
      states.push(made)
      return made
    }
    const turn = further.count() / REPLACEMENTS_PER_TURN
    return Number.isInteger(turn) ? states[turn % states.length]! : further.last!
  }

  static #exchangeTopics(one: SenderState, other: SenderState): void {
    const { routes, topic, on, senderPlan, identity, keys, analyticsSlice, refusalSeries, headerKey } = one
    const { slot0, generation0, slot1, generation1, slot2, generation2, slot3, generation3 } = one
    const more = one.#moreSlots
    one.routes = other.routes
    one.topic = other.topic
    one.on = other.on
    one.senderPlan = other.senderPlan
    one.identity = other.identity
    one.keys = other.keys
    one.analyticsSlice = other.analyticsSlice
    one.refusalSeries = other.refusalSeries
    one.headerKey = other.headerKey
    one.slot0 = other.slot0
    one.generation0 = other.generation0
    one.slot1 = other.slot1
    one.generation1 = other.generation1
    one.slot2 = other.slot2
    one.generation2 = other.generation2
    one.slot3 = other.slot3
    one.generation3 = other.generation3
    one.#moreSlots = other.#moreSlots
    other.routes = routes
    other.topic = topic
    other.on = on
    other.senderPlan = senderPlan
    other.identity = identity
    other.keys = keys
    other.analyticsSlice = analyticsSlice
    other.refusalSeries = refusalSeries
    other.headerKey = headerKey
    other.slot0 = slot0
    other.generation0 = generation0
    other.slot1 = slot1
    other.generation1 = generation1
    other.slot2 = slot2
    other.generation2 = generation2
    other.slot3 = slot3
    other.generation3 = generation3
    other.#moreSlots = more
  }
}

/**
 * Creates a sender for a connection. Any object works as a sender. One made here holds its own state, which
 * saves an object per connection and a cache miss per message.
 */
export function createSender(sender: Sender): Sender {
  return new SenderState(sender)
}

interface WithState extends Sender {
  [STATE]?: SenderState | undefined
}

/**
 * Returns the cached state of a sender, if there is one. It may belong to another gate or, on a copy (`{
 * ...sender }`), to another sender; check `routes` and `owner`. It is the sender itself or a property of it.
 * Why: a WeakMap lookup takes 20 to 50 ns.
 */
export function findSenderState(sender: Sender): SenderState | undefined {
  // A message built in code may have no sender.
  return sender instanceof SenderState ? sender : (sender as WithState | undefined)?.[STATE]
}

/** States of senders that are frozen or used by several gates. */
const SEPARATE_STATES = new WeakMap<object, WeakMap<Sender, SenderState>>()

/** Returns the own state of a sender at a gate; undefined if it has none. Its routes may be outdated. */
export function findOwnSenderState(sender: Sender, gate: object): SenderState | undefined {
  const senderState = findSenderState(sender)
  if (senderState === undefined || senderState.owner !== sender) return undefined
  return senderState.routes === undefined || senderState.routes.gate === gate ? senderState : undefined
}

/** Returns the state of a sender at a gate, creating it if necessary. Its routes may be outdated. */
export function getSenderState(sender: Sender, gate: object): SenderState {
  const senderState = findSenderState(sender)
  const isFree = senderState === undefined || senderState.owner !== sender
  if (!isFree && (senderState.routes === undefined || senderState.routes.gate === gate)) return senderState
  let senderStates = SEPARATE_STATES.get(gate)
  const separate = senderStates?.get(sender)
  if (separate !== undefined) return separate
  const made = new SenderState(sender, sender)
  if (isFree && Object.isExtensible(sender)) {
    ;(sender as WithState)[STATE] = made
    return made
  }
  if (senderStates === undefined) {
    senderStates = new WeakMap()
    SEPARATE_STATES.set(gate, senderStates)
  }
  senderStates.set(sender, made)
  return made
}
