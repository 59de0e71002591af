import type { MaybePromise } from '../message.ts'

/** Something that all nodes of a store are to know: a ban, an override, an exemption, a tier given to somebody. */
export interface SharedNote {
  readonly kind: string
  /** Unique within its kind; a later one of the same takes its place. */
  readonly id: string
  readonly json: string
  /** When it ends, by the clock of the nodes; absent: never. */
  readonly expiresAtMs?: number
}

/** Where a store keeps what its nodes tell each other. Lasts as long as the store's state does. */
export interface Notes {
  put(note: SharedNote): MaybePromise<void>
  remove(kind: string, id: string): MaybePromise<void>
  /** A text that differs after every change of any node: cheap to ask for. */
  version(): MaybePromise<string>
  /** All there are; some may have ended. */
  list(): MaybePromise<readonly SharedNote[]>
}
