import type { Entry, EntryList } from '../api/types.ts'

/** Fields that the server adds, or that the id of an entry says. */
const DERIVED = ['id', 'name', 'addedBy', 'addedAtMs', 'sequence', 'expiresAtMs']
const SUBJECT = ['client', 'user', 'device', 'apiKey', 'ip']

/** Returns the body that adds an entry again with the time it has left; undefined if it has none left. */
export function reAddEntryBody(list: EntryList, entry: Entry, nowMs: number): object | undefined {
  const omitted = list === 'exemptions' ? DERIVED : [...DERIVED, ...SUBJECT]
  const kept = Object.entries(entry).filter(([name]) => !omitted.includes(name))
  if (entry.expiresAtMs === undefined) return Object.fromEntries(kept)
  const leftMs = entry.expiresAtMs - nowMs
  return leftMs < 1 ? undefined : { ...Object.fromEntries(kept), for: leftMs }
}
