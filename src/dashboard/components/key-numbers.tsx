import type { Status, Summary } from '../api/types.ts'
import { formatCount, formatDuration, formatRate, formatShare } from '../format/format.ts'
import { ticks } from '../state/live.ts'

/** Seconds over which rates are averaged, so that they can be read. */
const RATE_SECONDS = 5

/** Decisions a second, block rate, clients, held messages, duration of a decision. */
export function KeyNumbers({ status, summary }: { readonly status: Status; readonly summary: Summary }) {
  const recent = ticks.value.slice(-RATE_SECONDS)
  const allowed = recent.reduce((sum, tick) => sum + tick.allowed, 0)
  const blocked = recent.reduce((sum, tick) => sum + tick.blocked, 0)
  const last = recent.at(-1)
  const seconds = Math.max(1, recent.length)
  const before = summary.hourly.at(-2)
  const connections = last?.connections ?? status.connections
  const held = last?.held ?? status.held
  const p95Ms = last?.p95Ms ?? status.p95Ms
  return (
    <dl class="key-numbers">
      <KeyNumber
        label="Decisions"
        value={formatRate((allowed + blocked) / seconds)}
        unit="/s"
        note={`${formatRate(blocked / seconds)} /s refused`}
      />
      <KeyNumber
        label="Refused"
        value={formatShare(blocked, allowed + blocked)}
        note={
          before === undefined || before.total === 0
            ? 'no decisions an hour ago'
            : `hour before: ${formatShare(before.blocked, before.total)}`
        }
      />
      <KeyNumber
        label="Clients"
        value={connections === null ? '–' : formatCount(connections)}
        note={`${formatCount(summary.uniqueClients)} seen in this range`}
      />
      <KeyNumber label="Held" value={held === null ? '–' : formatCount(held)} note="messages that wait" />
      <KeyNumber
        label="Decision time"
        value={p95Ms === null ? '–' : formatDuration(p95Ms)}
        note="95th percentile"
      />
    </dl>
  )
}

interface KeyNumberProps {
  readonly label: string
  readonly value: string
  readonly unit?: string | undefined
  readonly note: string
}

function KeyNumber({ label, value, unit, note }: KeyNumberProps) {
  return (
    <div class="panel key-number">
      <dt>{label}</dt>
      <dd>
        <span class="value">
          {value}
          {unit && <small> {unit}</small>}
        </span>
        <span class="hint">{note}</span>
      </dd>
    </div>
  )
}
