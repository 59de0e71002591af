import type { MaybePromise } from '../core/message.ts'

/** Something that all nodes of a store are to know: a ban, an override, an exemption, a tier given to somebody. */
export interface SharedEntry {
  readonly kind: string
  /** Unique within its kind; a later one of the same takes its place. */
  readonly id: string
  readonly json: string
  /** When it ends, by the clock of the nodes; absent: never. */
  readonly expiresAtMs?: number | undefined
}

/** Notes that are put, taken out and listed, and no more. */
export interface EphemeralEntries {
  put(note: SharedEntry): MaybePromise<void>
  remove(kind: string, id: string): MaybePromise<void>
  /** All there are; some may have ended. */
  list(): MaybePromise<readonly SharedEntry[]>
}

/** Where a store keeps what its nodes tell each other. Lasts as long as the store's state does. */
export interface SharedEntries extends EphemeralEntries {
  /** A text that differs after every change of any node: cheap to ask for. Empty where nothing was ever said. */
  version(): MaybePromise<string>
  /**
   * Those of one kind apart from these: they change no version, nobody is told of them, and these do not list them. For
   * what every node says again and again.
   */
  ephemeral(kind: string): EphemeralEntries
  /**
   * Has changes told of by the store as they happen. `changed` is called when a node may have changed something, and
   * whenever this way of hearing of it comes or goes. Absent where nodes can only ask, again and again.
   */
  watch?(changed: () => void): SharedEntriesWatch
}

/** An ear to what other nodes change. */
export interface SharedEntriesWatch {
  /** Whether changes are told of now; what has changed before is to be asked for. */
  isLive(): boolean
  close(): void
}
