import type { Entry, EntryList, SenderCard } from '../api/types.ts'
import { ENTRY_NOUNS, EntryTable } from './entry-table.tsx'

/** Bans, overrides, tiers and exemptions that cover a sender now; nothing without any. */
export function SenderEntries({
  card,
  canChange,
}: {
  readonly card: SenderCard
  readonly canChange: boolean
}) {
  const lists: readonly (readonly [EntryList, readonly Entry[]])[] = [
    ['bans', card.bans],
    ['overrides', card.overrides],
    ['tiers', card.tiers],
  ]
  const exemptions = card.exemptions.filter(({ exempts }) => exempts)
  const covering = lists.filter(([, entries]) => entries.length > 0)
  if (covering.length === 0 && exemptions.length === 0) return null
  return (
    <section aria-labelledby="card-entries">
      <h3 id="card-entries">In force now</h3>
      {covering.map(([list, entries]) => (
        <EntryTable
          key={list}
          list={list}
          entries={entries}
          canChange={canChange}
          caption={`${ENTRY_NOUNS[list]} of this sender`}
        />
      ))}
      {exemptions.length > 0 && (
        <ul>
          {exemptions.map(({ name, topic }) => (
            <li key={name}>
              exemption {name} for <code>{topic}</code>
            </li>
          ))}
        </ul>
      )}
    </section>
  )
}
