import type { Clock } from '../../clock.ts'
import type { Notes, SharedNote } from '../notes.ts'
import type { Ledger } from './ledger.ts'

/** How a transaction is asked for. */
export type Ask = <T>(work: (ledger: Ledger) => T, kind: 'reads' | 'writes') => Promise<T>

interface NoteRow {
  readonly kind: string
  readonly id: string
  readonly json: string
  readonly expires_at: number | null
}

/** Stands for a note without an end: whole numbers bind alike in all drivers. */
const NEVER = Number.MAX_SAFE_INTEGER

/** What the processes of one file tell each other: a table, and a number that grows with every change. */
export function sqliteNotes(ask: Ask, clock: Clock): Notes {
  return {
    put: ({ kind, id, json, expiresAtMs = NEVER }) =>
      ask(({ statements }) => {
        statements.dropNotes.run(clock.now(), '')
        statements.putNote.run(kind, idText(id), json, expiresAtMs)
        statements.countChange.run()
      }, 'writes'),
    remove: (kind, id) =>
      ask(({ statements }) => {
        statements.removeNote.run(kind, idText(id))
        statements.countChange.run()
      }, 'writes'),
    version: () =>
      ask(({ statements }) => String((statements.lastChange.get() as { count: number }).count), 'reads'),
    list: () => ask(({ statements }) => (statements.listNotes.all() as NoteRow[]).map(noteOf), 'reads'),
  }
}

function noteOf({ kind, id, json, expires_at: endMs }: NoteRow): SharedNote {
  const note = { kind, id: JSON.parse(id) as string, json }
  return endMs === null || endMs === NEVER ? note : { ...note, expiresAtMs: endMs }
}

/** Half a surrogate, which a client may be called, is no UTF-8 as it is. */
function idText(id: string): string {
  return JSON.stringify(id)
}
