import { formatCount, formatTime } from '../format/format.ts'
import { refusals } from '../state/live.ts'
import { OutcomeTag } from './outcome-tag.tsx'
import { ScrollArea } from './scroll-area.tsx'
import { SenderLink } from './sender-link.tsx'
import { TableHead } from './table-head.tsx'

/** Refusals as they happen, with their reasons. */
export function LiveRefusals() {
  const rows = refusals.value
  const nowMs = Date.now()
  return (
    <section class="panel" aria-labelledby="live-title">
      <h2 id="live-title">Live refusals</h2>
      <ScrollArea label="Table of live refusals" isLow>
        <table class="live-table">
          <TableHead columns={['Last', 'Sender', 'Reason', 'Outcome', 'Topic', '#Count']} />
          <tbody>
            {rows.map(row => (
              <tr key={row.key}>
                <td class="time">{formatTime(row.lastAtMs, nowMs)}</td>
                <th scope="row" class="name">
                  <SenderLink id={row.sender} />
                </th>
                <td class="reason">{row.text}</td>
                <td>
                  <OutcomeTag outcome={row.outcome} />
                </td>
                <td class="topic" title={row.topic}>
                  {row.topic}
                </td>
                <td class="number">{formatCount(row.count)}</td>
              </tr>
            ))}
            {rows.length === 0 && (
              <tr>
                <td colSpan={6} class="empty">
                  No refusal since this page is open.
                </td>
              </tr>
            )}
          </tbody>
        </table>
      </ScrollArea>
    </section>
  )
}
