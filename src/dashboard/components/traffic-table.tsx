import type { SeriesPoint } from '../api/types.ts'
import { type ChartMark, rowsOf, SPAN_INFO, type Span } from '../format/chart-data.ts'
import { formatCount, formatDuration, formatShare, formatTime } from '../format/format.ts'
import { ScrollArea } from './scroll-area.tsx'
import { TableHead } from './table-head.tsx'

interface TrafficTableProps {
  readonly span: Span
  readonly points: readonly SeriesPoint[]
  readonly marks: readonly ChartMark[]
}

/** The same data as the chart. */
export function TrafficTable({ span, points, marks }: TrafficTableProps) {
  const { rowMs } = SPAN_INFO[span]
  const nowMs = Date.now()
  return (
    <ScrollArea label="Table of messages over time" isLow>
      <table>
        <caption class="visually-hidden">Messages of the last {span}</caption>
        <TableHead
          columns={[
            `From, for ${formatDuration(rowMs)}`,
            '#Allowed',
            '#Refused',
            '#Share refused',
            'Changes and alerts',
          ]}
        />
        <tbody>
          {rowsOf(points, marks, rowMs).map(row => (
            <tr key={row.atMs}>
              <th scope="row" class="time">
                {formatTime(row.atMs, nowMs)}
              </th>
              <td class="number">{formatCount(row.allowed)}</td>
              <td class="number">{formatCount(row.blocked)}</td>
              <td class="number">{formatShare(row.blocked, row.allowed + row.blocked)}</td>
              <td>{row.marks.map(({ text }) => text).join('; ')}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollArea>
  )
}
