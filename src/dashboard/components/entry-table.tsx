import { useState } from 'preact/hooks'
import type { Entry, EntryList } from '../api/types.ts'
import { formatDuration, formatTime } from '../format/format.ts'
import { removeEntry } from '../state/change-entry.ts'
import { ReasonForm } from './reason-form.tsx'
import { SenderLink } from './sender-link.tsx'
import { TableHead } from './table-head.tsx'

export const ENTRY_NOUNS: Readonly<Record<EntryList, string>> = {
  bans: 'ban',
  overrides: 'override',
  exemptions: 'exemption',
  tiers: 'tier',
}

const COLUMNS = ['Sender', 'Effect', 'Reason', 'By', 'Time left']

interface EntryTableProps {
  readonly list: EntryList
  readonly entries: readonly Entry[]
  readonly canChange: boolean
  readonly caption: string
}

/** Entries of a list with effect, author, reason and the time left. */
export function EntryTable({ list, entries, canChange, caption }: EntryTableProps) {
  const [removing, setRemoving] = useState<string>()
  const nowMs = Date.now()
  return (
    <table>
      <caption class="visually-hidden">{caption}</caption>
      <TableHead columns={canChange ? [...COLUMNS, ''] : COLUMNS} />
      <tbody>
        {entries.map(entry => (
          <tr key={entry.id}>
            <th scope="row" class="name">
              <SenderLink id={entry.id} />
            </th>
            <td>{describeEffect(list, entry)}</td>
            <td>{entry.reason}</td>
            <td>
              {entry.addedBy}
              <span class="hint">{formatTime(entry.addedAtMs, nowMs)}</span>
            </td>
            <td>{timeLeft(entry, nowMs)}</td>
            {canChange && (
              <td>
                {removing === entry.id ? (
                  <ReasonForm
                    submitLabel={`Remove ${ENTRY_NOUNS[list]}`}
                    onCancel={() => setRemoving(undefined)}
                    onSubmit={reason =>
                      removeEntry(list, entry.id, reason, `${ENTRY_NOUNS[list]} of ${entry.id} removed`)
                    }
                  />
                ) : (
                  <button type="button" onClick={() => setRemoving(entry.id)}>
                    Remove<span class="visually-hidden"> {entry.id}</span>
                  </button>
                )}
              </td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function timeLeft({ expiresAtMs }: Entry, nowMs: number): string {
  return expiresAtMs === undefined ? 'until removed' : formatDuration(Math.max(1, expiresAtMs - nowMs))
}

function describeEffect(list: EntryList, entry: Entry): string {
  if ('limit' in entry && typeof entry.limit === 'string') {
    const rules = 'rules' in entry && Array.isArray(entry.rules) ? ` for ${entry.rules.join(', ')}` : ''
    return `limit ${entry.limit}${rules}`
  }
  if ('tier' in entry) return `tier ${entry.tier}`
  if (list === 'bans') return `banned: ${('outcome' in entry && entry.outcome) || 'reject'}`
  const words = ['clients', 'users', 'devices', 'topics', 'ips', 'roles'] as const
  const covered = words.flatMap(word => {
    const values = (entry as Partial<Record<(typeof words)[number], readonly string[]>>)[word]
    return values === undefined ? [] : [`${word} ${values.join(', ')}`]
  })
  return `exempt: ${covered.join('; ')}`
}
