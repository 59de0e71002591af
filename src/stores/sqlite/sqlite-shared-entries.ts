import type { Clock } from '../../core/clock.ts'
import type { EphemeralEntries, SharedEntries, SharedEntry } from '../shared-entries.ts'
import type { ChargeTransaction } from './charge-transaction.ts'

/** Function that runs work in a transaction. */
export type RunTransaction = <T>(
  work: (chargeTransaction: ChargeTransaction) => T,
  kind: 'reads' | 'writes',
) => Promise<T>

interface EntryRow {
  readonly kind: string
  readonly id: string
  readonly json: string
  readonly expires_at: number | null
}

/** Expiry of an entry without an end; whole numbers bind alike in all drivers. */
const NEVER = Number.MAX_SAFE_INTEGER

/** Prefix of separately kept kinds in the table; other kinds are words and sort around it. */
const EPHEMERAL_PREFIX = '/'
const WORDS = ['0', '\u{10ffff}'] as const

/** Returns the entries shared by the processes of one file: a table, and a number that grows with every change. */
export function sqliteSharedEntries(ask: RunTransaction, clock: Clock): SharedEntries {
  return {
    ...entriesOfKind(undefined),
    version: () =>
      ask(({ statements }) => String((statements.lastChange.get() as { count: number }).count), 'reads'),
    ephemeral: kind => entriesOfKind(`${EPHEMERAL_PREFIX}${kind}`),
  }

  /** Returns the entries of one kind, or of all kinds that are not kept separately. */
  function entriesOfKind(only: string | undefined): EphemeralEntries {
    return {
      put: ({ kind, id, json, expiresAtMs = NEVER }) =>
        ask(({ statements }) => {
          statements.dropEntries.run(clock.now(), '')
          statements.putEntry.run(only ?? kind, encodeId(id), json, expiresAtMs)
          if (only === undefined) statements.countChange.run()
        }, 'writes'),
      remove: (kind, id) =>
        ask(({ statements }) => {
          statements.removeEntry.run(only ?? kind, encodeId(id))
          if (only === undefined) statements.countChange.run()
        }, 'writes'),
      list: () =>
        ask(({ statements }) => {
          const [first, last] = only === undefined ? WORDS : [only, only]
          return (statements.listEntries.all(first, last) as EntryRow[]).map(runtimeEntryOf)
        }, 'reads'),
    }
  }
}

function runtimeEntryOf({ kind, id, json, expires_at: endMs }: EntryRow): SharedEntry {
  const plain = kind.startsWith(EPHEMERAL_PREFIX) ? kind.slice(EPHEMERAL_PREFIX.length) : kind
  const entry = { kind: plain, id: JSON.parse(id) as string, json }
  return endMs === null || endMs === NEVER ? entry : { ...entry, expiresAtMs: endMs }
}

/** Encodes an id, which may contain a lone surrogate and is then not valid UTF-8. */
function encodeId(id: string): string {
  return JSON.stringify(id)
}
