import type { Summary } from '../api/types.ts'
import { formatCount, formatShare } from '../format/format.ts'
import { type ShareRow, ShareTable } from './share-table.tsx'

type Groups = NonNullable<Summary['groups']>

const COLUMNS = ['Messages', 'Refused'] as const

/** Decisions by tier of the sender and by scope of the rule, side by side. */
export function DecisionGroups({ groups }: { readonly groups: Groups }) {
  return (
    <section class="panel" aria-labelledby="groups-title">
      <h2 id="groups-title">By tier and scope</h2>
      <div class="top-refused">
        <ShareTable title="Tiers" columns={COLUMNS} rows={rowsOf(groups.tiers, 'no tier')} />
        <ShareTable title="Scopes" columns={COLUMNS} rows={rowsOf(groups.scopes, 'no rule')} />
      </div>
    </section>
  )
}

/** `unnamed` stands for the empty name. */
function rowsOf(groups: Groups['tiers'], unnamed: string): readonly ShareRow[] {
  return groups.map(({ name, total, blocked }) => ({
    name,
    label: name === '' ? unnamed : name,
    share: blocked / total,
    values: [formatCount(total), formatShare(blocked, total)],
  }))
}
