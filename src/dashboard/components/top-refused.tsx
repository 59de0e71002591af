import type { ComponentChildren } from 'preact'
import type { Senders, Summary } from '../api/types.ts'
import { formatCount, formatShare } from '../format/format.ts'
import { SenderLink } from './sender-link.tsx'
import { ShareBar } from './share-bar.tsx'
import { TableHead } from './table-head.tsx'

const ROWS = 6

interface TopRefusedProps {
  readonly summary: Summary
  readonly senders: Senders
}

/** Most refused clients, topics and rules, side by side. */
export function TopRefused({ summary, senders }: TopRefusedProps) {
  const { blocked, topBlocked } = summary
  return (
    <div class="top-refused">
      <TopTable
        title="Clients"
        blocked={blocked}
        rows={senders.senders.map(({ id, name, count }) => ({
          name,
          count,
          cell: <SenderLink id={id}>{name}</SenderLink>,
        }))}
      />
      <TopTable title="Topics" blocked={blocked} rows={topBlocked.topics.list} />
      <TopTable title="Rules" blocked={blocked} rows={topBlocked.rules.list} />
    </div>
  )
}

interface TopRow {
  readonly name: string
  readonly count: number
  readonly cell?: ComponentChildren | undefined
}

interface TopTableProps {
  readonly title: string
  readonly rows: readonly TopRow[]
  readonly blocked: number
}

function TopTable({ title, rows, blocked }: TopTableProps) {
  return (
    <table class="top-table">
      <caption>{title}</caption>
      <TableHead columns={['Name', '#Refused', '#Share']} />
      <tbody>
        {rows.slice(0, ROWS).map(({ name, count, cell }) => (
          <tr key={name}>
            <th scope="row" class="name" title={name}>
              {cell ?? name}
              <ShareBar share={count / Math.max(1, blocked)} tone="blocked" />
            </th>
            <td class="number">{formatCount(count)}</td>
            <td class="number">{formatShare(Math.min(count, blocked), blocked)}</td>
          </tr>
        ))}
        {rows.length === 0 && (
          <tr>
            <td colSpan={3} class="empty">
              none
            </td>
          </tr>
        )}
      </tbody>
    </table>
  )
}
