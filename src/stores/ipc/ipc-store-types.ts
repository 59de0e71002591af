import type { SharedEntry } from '../shared-entries.ts'
import type { StateSelector } from '../store.ts'

/** Limit as it is sent: the name of its rule and its numbers as `fingerprintLimit` writes them. */
export type SentLimit = readonly [name: string, fingerprint: string]

/** Charge as it is sent: the index of its limit in the request, its key, its cost, and 1 if it is soft. */
export type SentCharge = readonly [limit: number, key: string, cost: number, soft: 0 | 1]

/** Call of a store. `space` is the kind of ephemeral entries; undefined for all others. */
export type StoreCall =
  | { readonly name: 'decide'; readonly commit: boolean; readonly charges: readonly SentCharge[] }
  | { readonly name: 'refund'; readonly charges: readonly SentCharge[] }
  | { readonly name: 'adopt'; readonly limits: readonly number[]; readonly nowMs: number }
  | { readonly name: 'forget'; readonly selector: StateSelector }
  | { readonly name: 'health' }
  | { readonly name: 'putEntry'; readonly space: string | undefined; readonly entry: SharedEntry }
  | {
      readonly name: 'removeEntry'
      readonly space: string | undefined
      readonly kind: string
      readonly id: string
    }
  | { readonly name: 'listEntries'; readonly space: string | undefined }
  | { readonly name: 'entriesVersion' }

/** Calls of one turn of the event loop. */
export interface StoreRequest {
  readonly limits: readonly SentLimit[]
  readonly calls: readonly StoreCall[]
}

/** Verdicts as numbers: allowed (0 or 1), remaining, retryAfterMs and resetMs of each charge. */
export type SentVerdicts = readonly number[]

/** Result of a call, {@link SentVerdicts} for `decide`, or the text of its error. */
export type StoreAnswer = { readonly value: unknown } | { readonly error: string }

/** Channel between a process and the one that holds the store. Messages arrive in order. */
export interface StoreChannel {
  /** Sends a request. Resolves with an answer for each call; rejects if the other process is gone. */
  request(request: StoreRequest): Promise<readonly StoreAnswer[]>
  /** Calls a listener when another process may have changed an entry. Returns a function that removes it. */
  onEntriesChanged(listener: () => void): () => void
}
