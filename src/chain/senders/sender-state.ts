import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Action, Sender } from '../../core/message.ts'
import type { BehaviourState } from '../evaluation/behaviour-evaluator.ts'
import type { RouteTable } from '../routing/route-table.ts'
import type { SenderPlan } from '../routing/sender-plan.ts'

/** Rules whose slots stand on the seat itself; those of further rules stand in a list. */
const INLINE = 4
const NO_SLOT = 0
const NO_GENERATION = -1

/** A topic a sender has been on, and may come back to. */
interface TopicEntry {
  topic: string
  on: Action
  senderPlan: SenderPlan | undefined
  identity: Sender
  keys: (string | undefined)[] | undefined
  met: number
  run: number
  /** Slot and generation by turns. */
  slots: number[]
}

const SEAT: unique symbol = Symbol('topicgate.seat')

/**
 * A sender together with what its gate keeps for it: topic and ruling of the last message, and for each rule the
 * slot of its key with the slot's generation. All in one object, and the first slots as its own fields: at a million
 * senders each object more on the way is a cache miss more, some 100 to 250 ns. (Sender, binding, list of slots and
 * elements of the list, each an object of its own, took twice the time.)
 */
export class SenderState implements Sender {
  /** Insight's: when this sender was last counted, with its tier. First, in a cache line that is read in any case. */
  met = 0
  /** The routes of its gate; others mean that all that follows is void. */
  routes: RouteTable | undefined = undefined
  owner: Sender
  topic = ''
  on: Action = 'publish'
  senderPlan: SenderPlan | undefined = undefined
  /** Slot and generation of the first rules; the fused plan reads them without a call. */
  slot0 = NO_SLOT
  generation0 = NO_GENERATION
  slot1 = NO_SLOT
  generation1 = NO_GENERATION
  slot2 = NO_SLOT
  generation2 = NO_GENERATION
  /** Insight's: the newest run of this sender's refusals on this topic; 0 is none. */
  run = 0
  slot3 = NO_SLOT
  generation3 = NO_GENERATION
  /** The sender after the policy's `senders`. */
  identity: Sender
  readonly tier: string | undefined
  #more: number[] | undefined = undefined
  /** Keys by rule, for a plan that charges by keys. */
  keys: (string | undefined)[] | undefined = undefined
  #topicEntries: TopicEntry[] | undefined = undefined
  #oldest = 0
  /** The count of its behaviour, where it has any. */
  behaviourState: BehaviourState | undefined = undefined
  readonly client: string | undefined
  readonly user: string | undefined
  readonly device: string | undefined
  readonly apiKey: string | undefined
  readonly ip: string | undefined
  readonly roles: readonly string[] | undefined

  /** `owner` is the sender as messages bring it: another object where the seat stands aside. */
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

  /** What logs and explanations show. */
  toJSON(): Sender {
    const { client, user, device, apiKey, ip, roles, tier } = this
    return { client, user, device, apiKey, ip, roles, tier }
  }

  slotOf(index: number): number {
    switch (index) {
      case 0:
        return this.slot0
      case 1:
        return this.slot1
      case 2:
        return this.slot2
      case 3:
        return this.slot3
      default:
        return this.#more?.[2 * (index - INLINE)] ?? NO_SLOT
    }
  }

  generationOf(index: number): number {
    switch (index) {
      case 0:
        return this.generation0
      case 1:
        return this.generation1
      case 2:
        return this.generation2
      case 3:
        return this.generation3
      default:
        return this.#more?.[2 * (index - INLINE) + 1] ?? NO_GENERATION
    }
  }

  /** Keeps the slot of a rule's key. */
  keep(index: number, slot: number, generation: number): void {
    switch (index) {
      case 0:
        this.slot0 = slot
        this.generation0 = generation
        return
      case 1:
        this.slot1 = slot
        this.generation1 = generation
        return
      case 2:
        this.slot2 = slot
        this.generation2 = generation
        return
      case 3:
        this.slot3 = slot
        this.generation3 = generation
        return
      default: {
        const more = this.#more ?? []
        while (more.length < 2 * (index - INLINE)) more.push(NO_SLOT, NO_GENERATION)
        more[2 * (index - INLINE)] = slot
        more[2 * (index - INLINE) + 1] = generation
        this.#more = more
      }
    }
  }

  /** Turns to a topic the sender has been on under the same routes; false where it has not. */
  restoreTopic(topic: string, on: Action): boolean {
    const topicEntries = this.#topicEntries
    if (topicEntries === undefined) return false
    for (let index = 0; index < topicEntries.length; index++) {
      const topicEntry = topicEntries[index]!
      if (topicEntry.on !== on || topicEntry.topic !== topic) continue
      if (this.topic.length <= MAX_SIZES.topicPerSenderChars) topicEntries[index] = SenderState.#leave(this)
      else {
        topicEntries.splice(index, 1)
        this.#oldest = 0
      }
      SenderState.#enter(this, topicEntry)
      return true
    }
    return false
  }

  /** Turns to a topic that is new to the sender; what it was on before is remembered, the oldest forgotten. */
  switchTopic(routes: RouteTable, topic: string, on: Action, senderPlan: SenderPlan, identity: Sender): void {
    if (this.routes !== routes) {
      this.routes = routes
      this.#topicEntries = undefined
      this.#oldest = 0
    } else if (this.senderPlan !== undefined && this.topic.length <= MAX_SIZES.topicPerSenderChars) {
      this.#topicEntries ??= []
      if (this.#topicEntries.length < MAX_SIZES.topicsPerSender)
        this.#topicEntries.push(SenderState.#leave(this))
      else {
        this.#topicEntries[this.#oldest] = SenderState.#leave(this)
        this.#oldest = (this.#oldest + 1) % MAX_SIZES.topicsPerSender
      }
    }
    SenderState.#enter(this, { topic, on, senderPlan, identity, keys: undefined, met: 0, run: 0, slots: [] })
  }

  /** Static, as is the next: for private methods each seat would have a field more, before all others. */
  static #leave(senderState: SenderState): TopicEntry {
    const { topic, on, senderPlan, identity, keys, met, run } = senderState
    const slots = senderState.#more === undefined ? [] : [...senderState.#more]
    for (let index = INLINE - 1; index >= 0; index--)
      slots.unshift(senderState.slotOf(index), senderState.generationOf(index))
    return { topic, on, senderPlan, identity, keys, met, run, slots }
  }

  static #enter(senderState: SenderState, topicEntry: TopicEntry): void {
    senderState.topic = topicEntry.topic
    senderState.on = topicEntry.on
    senderState.senderPlan = topicEntry.senderPlan
    senderState.identity = topicEntry.identity
    senderState.keys = topicEntry.keys
    senderState.met = topicEntry.met
    senderState.run = topicEntry.run
    senderState.#more = undefined
    const { slots } = topicEntry
    for (let index = 0; index < INLINE || 2 * index < slots.length; index++) {
      senderState.keep(index, slots[2 * index] ?? NO_SLOT, slots[2 * index + 1] ?? NO_GENERATION)
    }
  }
}

/**
 * A sender for a connection. Any object will do as a sender; one made here is its own seat, which saves an object
 * a connection and a cache miss a message.
 */
export function createSender(sender: Sender): Sender {
  return new SenderState(sender)
}

interface Seated extends Sender {
  [SEAT]?: SenderState | undefined
}

/**
 * The seat of a sender, if it has one; perhaps that of another gate or, on a copy (`{ ...sender }`), of another
 * sender: `routes` and `owner` tell. It is the sender itself or hangs on it: a WeakMap would cost 20 to 50 ns.
 */
export function cachedState(sender: Sender): SenderState | undefined {
  // A message in code may have no sender.
  return sender instanceof SenderState ? sender : (sender as Seated | undefined)?.[SEAT]
}

/** Seats of senders that are frozen, or that several gates know. */
const ASIDE = new WeakMap<object, WeakMap<Sender, SenderState>>()

/** The seat of a sender at a gate, whose routes may have changed, made if need be. */
export function getSenderState(sender: Sender, gate: object): SenderState {
  const senderState = cachedState(sender)
  const isFree = senderState === undefined || senderState.owner !== sender
  if (!isFree && (senderState.routes === undefined || senderState.routes.gate === gate)) return senderState
  let senderStates = ASIDE.get(gate)
  const aside = senderStates?.get(sender)
  if (aside !== undefined) return aside
  const made = new SenderState(sender, sender)
  if (isFree && Object.isExtensible(sender)) {
    ;(sender as Seated)[SEAT] = made
    return made
  }
  if (senderStates === undefined) {
    senderStates = new WeakMap()
    ASIDE.set(gate, senderStates)
  }
  senderStates.set(sender, made)
  return made
}
