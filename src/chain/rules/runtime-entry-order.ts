/** Age of a runtime entry. */
export interface EntryAge {
  readonly addedAtMs: number
  /** Position among entries added in the same millisecond; absent: 0. */
  readonly sequence?: number | undefined
}

/** Compares runtime entries by age, oldest first. The order is the same on all nodes of a store. */
export function compareAge(a: EntryAge, b: EntryAge): number {
  return a.addedAtMs - b.addedAtMs || (a.sequence ?? 0) - (b.sequence ?? 0)
}
