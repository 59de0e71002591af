import type { Senders, Summary } from '../api/types.ts'
import { formatCount, formatShare } from '../format/format.ts'
import { SenderLink } from './sender-link.tsx'
import { type ShareRow, ShareTable } from './share-table.tsx'

const ROWS = 6
const COLUMNS = ['Refused', 'Share'] as const

interface TopRefusedProps {
  readonly summary: Summary
  readonly senders: Senders
}

/** Most refused clients, topics and rules, side by side. */
export function TopRefused({ summary, senders }: TopRefusedProps) {
  const { blocked, topBlocked } = summary
  const rowOf = ({ name, count }: { readonly name: string; readonly count: number }): ShareRow => ({
    name,
    share: count / Math.max(1, blocked),
    values: [formatCount(count), formatShare(Math.min(count, blocked), blocked)],
  })
  const clients = senders.senders
    .slice(0, ROWS)
    .map(sender => ({ ...rowOf(sender), label: <SenderLink id={sender.id}>{sender.name}</SenderLink> }))
  return (
    <div class="top-refused">
      <ShareTable title="Clients" columns={COLUMNS} rows={clients} />
      <ShareTable title="Topics" columns={COLUMNS} rows={topBlocked.topics.list.slice(0, ROWS).map(rowOf)} />
      <ShareTable title="Rules" columns={COLUMNS} rows={topBlocked.rules.list.slice(0, ROWS).map(rowOf)} />
    </div>
  )
}
