import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Sender } from '../../core/message.ts'
import { TwoGenerationCache } from '../../core/two-generation-cache.ts'
import { getSenderState, type SenderState } from './sender-state.ts'

/** Number of uses of a state by other objects per object that is remembered. A power of two. */
const USES_PER_SAMPLE = 64

interface CachedState {
  readonly state: SenderState
  /** A copy, because an application may reuse its array. */
  readonly roles: readonly string[]
  /** Uses by other objects than the owner of the state, modulo {@link USES_PER_SAMPLE}. */
  uses: number
  /** One of these objects. If it is used again, it gets a state of its own. */
  sample: Sender | undefined
}

const NO_ROLES: readonly string[] = []

/**
 * Bounded cache of the states of one gate, by the parts of their senders. Why: an application without connections may
 * make a sender object for each message. Equal objects share the state of the first one.
 */
export class SenderStateCache {
  readonly #gate: object
  readonly #states = new TwoGenerationCache<CachedState>({
    maxEntries: MAX_SIZES.senderStates,
    maxKeyChars: MAX_SIZES.senderStateChars,
    maxTotalChars: MAX_SIZES.senderStateCharsTotal,
  })

  constructor(gate: object) {
    this.#gate = gate
  }

  get size(): number {
    return this.#states.size
  }

  /**
   * Returns the state of a sender object that has no own state at the gate. Its routes may be outdated. Senders with
   * long parts, and long topics, are not remembered.
   */
  stateOf(sender: Sender, topic: string): SenderState {
    const key = sender.client ?? sender.user ?? sender.apiKey ?? sender.device ?? sender.ip
    const chars = countChars(sender)
    if (
      typeof key !== 'string' ||
      chars > MAX_SIZES.senderStateChars ||
      topic.length > MAX_SIZES.cachedTopicChars
    )
      return getSenderState(sender, this.#gate)
    const known = this.#states.get(key, chars)
    if (known === undefined || known.sample === sender || !this.#isStateOf(known, sender)) {
      const state = getSenderState(sender, this.#gate)
      const roles = sender.roles?.length ? [...sender.roles] : NO_ROLES
      this.#states.set(key, { state, roles, uses: 0, sample: undefined }, chars)
      return state
    }
    // Why not every object: one that is kept until the next message outlives several garbage collections.
    known.uses = (known.uses + 1) % USES_PER_SAMPLE
    if (known.uses === 0) known.sample = sender
    return known.state
  }

  #isStateOf({ state, roles }: CachedState, sender: Sender): boolean {
    const { routes } = state
    return (
      (routes === undefined || routes.gate === this.#gate) &&
      state.client === sender.client &&
      state.user === sender.user &&
      state.device === sender.device &&
      state.apiKey === sender.apiKey &&
      state.ip === sender.ip &&
      state.tier === sender.tier &&
      areEqual(roles, sender.roles ?? NO_ROLES)
    )
  }
}

/** Returns the characters of all parts of a sender. */
function countChars({ client, user, device, apiKey, ip, tier, roles }: Sender): number {
  let chars =
    lengthOf(client) + lengthOf(user) + lengthOf(device) + lengthOf(apiKey) + lengthOf(ip) + lengthOf(tier)
  for (const role of roles ?? NO_ROLES) chars += lengthOf(role)
  return chars
}

function lengthOf(part: string | undefined): number {
  return part?.length ?? 0
}

function areEqual(one: readonly string[], other: readonly string[]): boolean {
  if (one.length !== other.length) return false
  for (let index = 0; index < one.length; index++) if (one[index] !== other[index]) return false
  return true
}
