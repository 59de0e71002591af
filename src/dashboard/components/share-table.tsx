import type { ComponentChildren } from 'preact'
import { ShareBar } from './share-bar.tsx'
import { TableHead } from './table-head.tsx'

export interface ShareRow {
  readonly name: string
  /** Shown in place of the name. */
  readonly label?: ComponentChildren | undefined
  /** Length of the bar, 0 to 1. */
  readonly share: number
  readonly values: readonly [string, string]
}

interface ShareTableProps {
  readonly title: string
  /** Headings of the two values. */
  readonly columns: readonly [string, string]
  readonly rows: readonly ShareRow[]
}

/** Names with a bar of their share and two values. */
export function ShareTable({ title, columns, rows }: ShareTableProps) {
  return (
    <table class="top-table">
      <caption>{title}</caption>
      <TableHead columns={['Name', `#${columns[0]}`, `#${columns[1]}`]} />
      <tbody>
        {rows.map(({ name, label, share, values }) => (
          <tr key={name}>
            <th scope="row" class="name" title={name}>
              {label ?? name}
              <ShareBar share={share} tone="blocked" />
            </th>
            <td class="number">{values[0]}</td>
            <td class="number">{values[1]}</td>
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
