import type { AuditRecord } from '../api/types.ts'
import { formatTime } from '../format/format.ts'
import { SenderLink } from './sender-link.tsx'
import { TableHead } from './table-head.tsx'

/** Changes with author, address and reason, the newest first. */
export function AuditTable({ records }: { readonly records: readonly AuditRecord[] }) {
  const nowMs = Date.now()
  if (records.length === 0) return <p class="empty">none</p>
  return (
    <table>
      <caption class="visually-hidden">Audit log, the newest first</caption>
      <TableHead columns={['Time', 'Change', 'Of', 'By', 'Reason']} />
      <tbody>
        {records.map(({ seq, atMs, kind, action, id, by, ip, reason }) => (
          <tr key={seq}>
            <td class="time">{formatTime(atMs, nowMs)}</td>
            <td>
              {kind} {action}
            </td>
            <th scope="row" class="name">
              <SenderLink id={id} />
            </th>
            <td>
              {by}
              {ip !== undefined && <span class="hint">{ip}</span>}
            </td>
            <td>{reason}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
