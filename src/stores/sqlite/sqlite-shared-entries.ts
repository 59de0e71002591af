import type { Clock } from '../../core/clock.ts'
import type { EphemeralEntries, SharedEntries, SharedEntry } from '../shared-entries.ts'
import type { ChargeTransaction } from './charge-transaction.ts'

/** How a transaction is asked for. */
export type Ask = <T>(
  work: (chargeTransaction: ChargeTransaction) => T,
  kind: 'reads' | 'writes',
) => Promise<T>

interface NoteRow {
  readonly kind: string
  readonly id: string
  readonly json: string
  readonly expires_at: number | null
}

/** Stands for a note without an end: whole numbers bind alike in all drivers. */
const NEVER = Number.MAX_SAFE_INTEGER

/** What a kind that is kept apart begins with in the table, and between what those of all others stand: words. */
const APART = '/'
const WORDS = ['0', '\u{10ffff}'] as const

/** What the processes of one file tell each other: a table, and a number that grows with every change. */
export function sqliteSharedEntries(ask: Ask, clock: Clock): SharedEntries {
  return {
    ...keptAs(undefined),
    version: () =>
      ask(({ statements }) => String((statements.lastChange.get() as { count: number }).count), 'reads'),
    ephemeral: kind => keptAs(`${APART}${kind}`),
  }

  /** Those of one kind as it stands in the table, or of all that are not apart. */
  function keptAs(only: string | undefined): EphemeralEntries {
    return {
      put: ({ kind, id, json, expiresAtMs = NEVER }) =>
        ask(({ statements }) => {
          statements.dropNotes.run(clock.now(), '')
          statements.putNote.run(only ?? kind, idText(id), json, expiresAtMs)
          if (only === undefined) statements.countChange.run()
        }, 'writes'),
      remove: (kind, id) =>
        ask(({ statements }) => {
          statements.removeNote.run(only ?? kind, idText(id))
          if (only === undefined) statements.countChange.run()
        }, 'writes'),
      list: () =>
        ask(({ statements }) => {
          const [first, last] = only === undefined ? WORDS : [only, only]
          return (statements.listNotes.all(first, last) as NoteRow[]).map(runtimeEntryOf)
        }, 'reads'),
    }
  }
}

function runtimeEntryOf({ kind, id, json, expires_at: endMs }: NoteRow): SharedEntry {
  const plain = kind.startsWith(APART) ? kind.slice(APART.length) : kind
  const note = { kind: plain, id: JSON.parse(id) as string, json }
  return endMs === null || endMs === NEVER ? note : { ...note, expiresAtMs: endMs }
}

/** Half a surrogate, which a client may be called, is no UTF-8 as it is. */
function idText(id: string): string {
  return JSON.stringify(id)
}
