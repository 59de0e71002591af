import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Sender } from '../../core/message.ts'
import { TwoGenerationCache } from '../../core/two-generation-cache.ts'
import { getSenderState, type SenderState } from './sender-state.ts'

/** One of so many uses by other objects remembers the object. A power of two. */
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
    maxKeyChars: MAX_SIZES.senderStateKeyChars,
    maxTotalChars: MAX_SIZES.senderStateCharsTotal,
  })

  constructor(gate: object) {
    this.#gate = gate
  }

  get size(): number {
    return this.#states.size
  }

  /** Returns the state of a sender object that has no own state at the gate. Its routes may be outdated. */
  stateOf(sender: Sender): SenderState {
    const key = sender.client ?? sender.user ?? sender.apiKey ?? sender.device ?? sender.ip
    if (typeof key !== 'string') return getSenderState(sender, this.#gate)
    const known = this.#states.get(key)
    if (known === undefined || known.sample === sender || !this.#isStateOf(known, sender)) {
      const state = getSenderState(sender, this.#gate)
      const roles = sender.roles?.length ? [...sender.roles] : NO_ROLES
      this.#states.set(key, { state, roles, uses: 0, sample: undefined })
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

function areEqual(one: readonly string[], other: readonly string[]): boolean {
  if (one.length !== other.length) return false
  for (let index = 0; index < one.length; index++) if (one[index] !== other[index]) return false
  return true
}
