import type { RefusalJson } from '../api/types.ts'
import { formatCount, formatTime } from '../format/format.ts'
import { OutcomeTag } from './outcome-tag.tsx'
import { TableHead } from './table-head.tsx'

/** The last refusals of a sender, the newest first. */
export function SenderRefusals({ refusals }: { readonly refusals: readonly RefusalJson[] }) {
  const nowMs = Date.now()
  return (
    <section aria-labelledby="card-refusals">
      <h3 id="card-refusals">Last refusals</h3>
      {refusals.length === 0 && <p class="empty">none</p>}
      {refusals.length > 0 && (
        <table>
          <TableHead columns={['Time', 'Reason and topic', 'Outcome', '#Count']} />
          <tbody>
            {refusals.map(refusal => (
              <tr key={`${refusal.atMs} ${refusal.topic} ${refusal.rule}`}>
                <td class="time">{formatTime(refusal.lastAtMs, nowMs)}</td>
                <td class="name">
                  {refusal.text}
                  <span class="hint">{refusal.topic}</span>
                </td>
                <td>
                  <OutcomeTag outcome={refusal.outcome} />
                </td>
                <td class="number">{formatCount(refusal.count)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  )
}
