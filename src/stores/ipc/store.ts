import { ALGORITHM_NAMES, type Limit } from '../../algorithms/limit-types.ts'
import { StoreError } from '../../core/errors.ts'
import { fingerprintLimit } from '../persistence/limit-fingerprint.ts'
import type { EphemeralEntries, SharedEntries, SharedEntry } from '../shared-entries.ts'
import type { Charge, StateSelector, Store, StoreHealth, Verdict } from '../store.ts'
import type { SentCharge, SentVerdicts, StoreCall, StoreChannel } from './ipc-store-types.ts'

interface WaitingCall {
  /** Creates the call, with the indexes of its limits in the request. */
  readonly build: (limits: LimitTable) => StoreCall
  readonly resolve: (value: never) => void
  readonly reject: (error: StoreError) => void
}

/** Limits of a request, by the order of their first use. */
class LimitTable {
  readonly #indexes = new Map<Limit, number>()

  readonly indexOf = (limit: Limit): number => {
    let index = this.#indexes.get(limit)
    if (index === undefined) {
      index = this.#indexes.size
      this.#indexes.set(limit, index)
    }
    return index
  }

  readonly sendCharge = ({ limit, key, cost, soft }: Charge): SentCharge => [
    this.indexOf(limit),
    key,
    cost,
    soft === true ? 1 : 0,
  ]

  list(): readonly (readonly [string, string])[] {
    return Array.from(this.#indexes.keys(), limit => [limit.name, fingerprintLimit(limit)])
  }
}

/**
 * State in another process of this machine, such as the primary of a cluster; time is that of its process. Calls of one
 * event loop turn are one message. Rejects with StoreError if the process is gone.
 */
export class IpcStore implements Store {
  readonly name = 'ipc'
  readonly algorithms: ReadonlySet<string> = new Set(ALGORITHM_NAMES)
  readonly sharedEntries: SharedEntries
  readonly #channel: StoreChannel
  #waiting: WaitingCall[] = []
  #isClosed = false

  constructor(channel: StoreChannel) {
    this.#channel = channel
    this.sharedEntries = {
      isVolatile: true,
      ...this.#entries(undefined),
      version: () => this.#ask<string>({ name: 'entriesVersion' }),
      ephemeral: kind => this.#entries(kind),
      watch: changed => ({ isLive: () => !this.#isClosed, close: channel.onEntriesChanged(changed) }),
    }
  }

  refuses(limit: Limit): string | undefined {
    return limit.custom === undefined ? undefined : 'custom algorithms cannot be sent to another process'
  }

  async decide(
    charges: readonly Charge[],
    { commit }: { readonly commit: boolean },
  ): Promise<readonly Verdict[]> {
    const numbers = await this.#call<SentVerdicts>(({ sendCharge }) => ({
      name: 'decide',
      commit,
      charges: charges.map(sendCharge),
    }))
    return charges.map((_, index) => ({
      allowed: numbers[4 * index] === 1,
      remaining: numbers[4 * index + 1]!,
      retryAfterMs: numbers[4 * index + 2]!,
      resetMs: numbers[4 * index + 3]!,
    }))
  }

  adopt(limits: readonly Limit[], nowMs: number): void {
    const sendable = limits.filter(limit => this.refuses(limit) === undefined)
    // Without an answer the limits are migrated on their next decision.
    this.#call(({ indexOf }) => ({ name: 'adopt', limits: sendable.map(indexOf), nowMs })).catch(() => {})
  }

  refund(charges: readonly Charge[]): Promise<void> {
    return this.#call(({ sendCharge }) => ({ name: 'refund', charges: charges.map(sendCharge) }))
  }

  /** Returns how many keys were forgotten. */
  forget(selector: StateSelector): Promise<number> {
    return this.#ask({ name: 'forget', selector })
  }

  async health(): Promise<StoreHealth> {
    try {
      return await this.#ask<StoreHealth>({ name: 'health' })
    } catch (error) {
      return { ok: false, detail: (error as Error).message }
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #entries(space: string | undefined): EphemeralEntries {
    return {
      put: entry => this.#ask<void>({ name: 'putEntry', space, entry }),
      remove: (kind, id) => this.#ask<void>({ name: 'removeEntry', space, kind, id }),
      list: () => this.#ask<readonly SharedEntry[]>({ name: 'listEntries', space }),
    }
  }

  #ask<T>(call: StoreCall): Promise<T> {
    return this.#call(() => call)
  }

  #call<T>(build: WaitingCall['build']): Promise<T> {
    if (this.#isClosed) return Promise.reject(new StoreError('the ipc store is closed: open another'))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ build, resolve, reject })
      if (this.#waiting.length === 1) setImmediate(() => void this.#send())
    })
  }

  async #send(): Promise<void> {
    const waiting = this.#waiting
    this.#waiting = []
    const limits = new LimitTable()
    const calls = waiting.map(({ build }) => build(limits))
    try {
      const answers = await this.#channel.request({ limits: limits.list(), calls })
      for (const [index, { resolve, reject }] of waiting.entries()) {
        const answer = answers[index]!
        if ('error' in answer) reject(new StoreError(answer.error))
        else resolve(answer.value as never)
      }
    } catch (cause) {
      const error = new StoreError('the process that holds the store is gone (start it again)', { cause })
      for (const { reject } of waiting) reject(error)
    }
  }
}
