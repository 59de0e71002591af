import type { EntryList, EntryPage } from '../api/types.ts'
import { EntryTable } from '../components/entry-table.tsx'
import { ScrollArea } from '../components/scroll-area.tsx'
import { useResource } from '../state/use-resource.ts'

const ENTRIES_MS = 5_000

const TITLES: Readonly<Record<EntryList, string>> = {
  bans: 'Bans',
  overrides: 'Overrides',
  exemptions: 'Exemptions',
  tiers: 'Tiers',
}

/** What operators and penalties have set while the gate runs. */
export function EntriesPage({ canChange }: { readonly canChange: boolean }) {
  return (
    <>
      <h1 class="visually-hidden">Bans and overrides</h1>
      {(Object.keys(TITLES) as EntryList[]).map(list => (
        <EntryPanel key={list} list={list} canChange={canChange} />
      ))}
    </>
  )
}

function EntryPanel({ list, canChange }: { readonly list: EntryList; readonly canChange: boolean }) {
  const { data: page } = useResource<EntryPage>(`${list}?limit=200`, ENTRIES_MS)
  return (
    <section class="panel" aria-labelledby={`${list}-title`}>
      <h2 id={`${list}-title`}>
        {TITLES[list]} {page && <span class="count">{page.total}</span>}
      </h2>
      {page?.total === 0 && <p class="empty">none</p>}
      {page !== undefined && page.total > 0 && (
        <ScrollArea label={`Table of ${list}`}>
          <EntryTable list={list} entries={page.entries} canChange={canChange} caption={TITLES[list]} />
        </ScrollArea>
      )}
      {page?.next && <p class="hint">The oldest {page.entries.length} of them are shown.</p>}
    </section>
  )
}
