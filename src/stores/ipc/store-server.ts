import type { Limit } from '../../algorithms/limit-types.ts'
import { StoreError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { MemorySharedEntries } from '../memory/memory-shared-entries.ts'
import type { MemoryStore } from '../memory/memory-store.ts'
import { parseLimitFingerprint } from '../persistence/limit-fingerprint.ts'
import type { EphemeralEntries } from '../shared-entries.ts'
import type { Charge, Verdict } from '../store.ts'
import type {
  SentCharge,
  SentLimit,
  SentVerdicts,
  StoreAnswer,
  StoreCall,
  StoreRequest,
} from './ipc-store-types.ts'

/** Answers the {@link IpcStore}s of other processes from the memory of this one. */
export class IpcStoreServer {
  readonly #store: MemoryStore
  readonly #entries: MemorySharedEntries
  /** Limits by name and numbers: equal ones of several processes have to be the same object. */
  readonly #limits = new Map<string, Limit>()

  constructor(store: MemoryStore, entries: MemorySharedEntries) {
    this.#store = store
    this.#entries = entries
  }

  get rememberedLimits(): number {
    return this.#limits.size
  }

  /** Answers the calls of a request in their order. A call that fails does not affect the others. */
  answer({ limits, calls }: StoreRequest): readonly StoreAnswer[] {
    const known = limits.map(limit => this.#limitOf(limit))
    return calls.map(call => {
      try {
        return { value: this.#run(call, known) }
      } catch (error) {
        return { error: error instanceof Error ? error.message : String(error) }
      }
    })
  }

  #run(call: StoreCall, limits: readonly Limit[]): unknown {
    switch (call.name) {
      case 'decide':
        return toNumbers(this.#store.decide(toCharges(call.charges, limits), { commit: call.commit }))
      case 'refund':
        return this.#store.refund(toCharges(call.charges, limits))
      case 'adopt':
        return this.#store.adopt(
          call.limits.map(index => limits[index]!),
          call.nowMs,
        )
      case 'forget':
        return this.#store.forget(call.selector)
      case 'health':
        return this.#store.health()
      case 'putEntry':
        return this.#spaceOf(call.space).put(call.entry)
      case 'removeEntry':
        return this.#spaceOf(call.space).remove(call.kind, call.id)
      case 'listEntries':
        return this.#spaceOf(call.space).list()
      case 'entriesVersion':
        return this.#entries.version()
      default:
        return call satisfies never
    }
  }

  #spaceOf(space: string | undefined): EphemeralEntries {
    return space === undefined ? this.#entries : this.#entries.ephemeral(space)
  }

  #limitOf([name, fingerprint]: SentLimit): Limit {
    const id = `${name}\n${fingerprint}`
    let limit = this.#limits.get(id)
    if (limit === undefined) {
      limit = parseLimitFingerprint(fingerprint, { name, algorithm: '' })
      if (limit === undefined) throw new StoreError('a worker of another version asks for a limit')
      if (this.#limits.size >= MAX_SIZES.ipcLimits) this.#limits.delete(this.#limits.keys().next().value!)
      this.#limits.set(id, limit)
    }
    return limit
  }
}

function toCharges(sent: readonly SentCharge[], limits: readonly Limit[]): readonly Charge[] {
  return sent.map(([index, key, cost, soft]) => ({ limit: limits[index]!, key, cost, soft: soft === 1 }))
}

function toNumbers(verdicts: readonly Verdict[]): SentVerdicts {
  return verdicts.flatMap(({ allowed, remaining, retryAfterMs, resetMs }) => [
    allowed ? 1 : 0,
    remaining,
    retryAfterMs,
    resetMs,
  ])
}
