import type { SenderLimit } from '../api/types.ts'
import { formatUnits, formatWait } from '../format/format.ts'
import { Icon } from './icon.tsx'
import { ShareBar } from './share-bar.tsx'
import { TableHead } from './table-head.tsx'

/** What each rule leaves a sender, as bars and numbers. */
export function LimitTable({ limits }: { readonly limits: readonly SenderLimit[] }) {
  if (limits.length === 0) return <p class="empty">No rule has counted it.</p>
  return (
    <table>
      <TableHead columns={['Rule', 'Left', 'State']} />
      <tbody>
        {limits.map(limit => (
          <LimitRow key={`${limit.rule} ${limit.counter}`} limit={limit} />
        ))}
      </tbody>
    </table>
  )
}

function LimitRow({ limit }: { readonly limit: SenderLimit }) {
  const { rule, counter, remaining, unit, allowed, shadow, retryAfterMs, resetMs, scaled } = limit
  return (
    <tr>
      <th scope="row" class="name">
        {rule}
        <span class="hint">
          {counter}
          {shadow && ', in shadow'}
          {scaled && `, × ${scaled.factor}`}
        </span>
      </th>
      <td class="left">
        {formatUnits(remaining, unit)} of {formatUnits(limit.limit, unit)}
        <ShareBar share={remaining / limit.limit} tone={allowed ? 'allowed' : 'blocked'} />
      </td>
      <td>
        <span class={allowed ? 'tag' : 'tag critical'}>
          <Icon name={allowed ? 'ok' : 'ban'} /> {allowed ? 'passes' : 'refused'}
        </span>
        <span class="hint">
          {!allowed && `again in ${formatWait(retryAfterMs)}`}
          {allowed && remaining < limit.limit && `full in ${formatWait(resetMs)}`}
        </span>
      </td>
    </tr>
  )
}
