import type { MaybePromise } from '../core/message.ts'

/** Runtime entry shared by all nodes of a store: a ban, an override, an exemption or a tier. */
export interface SharedEntry {
  readonly kind: string
  /** Unique within its kind; a later entry with the same id replaces it. */
  readonly id: string
  readonly json: string
  /** End of the entry by the clock of the nodes; absent: never. */
  readonly expiresAtMs?: number | undefined
}

/** Entries without a change version or notifications. */
export interface EphemeralEntries {
  put(entry: SharedEntry): MaybePromise<void>
  remove(kind: string, id: string): MaybePromise<void>
  /** Returns all entries, including ones that may have expired. */
  list(): MaybePromise<readonly SharedEntry[]>
}

/** Entries that the nodes of a store share. They last as long as the store's state. */
export interface SharedEntries extends EphemeralEntries {
  /** True if the entries are lost when the processes of this machine end. */
  readonly isVolatile?: boolean | undefined
  /**
   * Returns a text that differs after every change by any node; cheap to read. It ends in a number that grows. Empty before
   * the first change.
   */
  version(): MaybePromise<string>
  /**
   * Returns the entries of one kind that are kept separately: they change no version, notify no watcher, and are not
   * in `list`. Used for what every node writes repeatedly.
   */
  ephemeral(kind: string): EphemeralEntries
  /**
   * Watches for changes. `changed` is called when a node may have changed an entry, and when the watch becomes live
   * or is lost. Absent if nodes can only poll.
   */
  watch?(changed: () => void): SharedEntriesWatch
}

/** Watch on the entries other nodes change. */
export interface SharedEntriesWatch {
  /** Returns true while changes are reported; earlier changes have to be read. */
  isLive(): boolean
  close(): void
}
