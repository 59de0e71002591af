import { formatCount, formatShare, formatTable, sanitizeForTerminal } from '../terminal/format.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { type AdminClient, type ConnectionFlags, openAdminClient } from './client.ts'
import { showLiveView } from './live-view.ts'
import { type CommandOutput, encodePathSegment } from './run.ts'

export interface MetricsFlags extends ConnectionFlags {
  readonly rule?: string
  readonly watch?: boolean
}

/** Shows the counts of rules every second until SIGINT; with --json a document a line. */
export function watchMetrics(flags: MetricsFlags, terminal: Terminal): Promise<number> {
  const client = openAdminClient(flags, terminal.env)
  const read = async (): Promise<readonly string[]> => {
    const { json, lines } = await showMetrics(client, flags.rule)
    return flags.json ? [JSON.stringify(json)] : lines
  }
  return showLiveView({ read }, flags, terminal)
}

/** Returns the counts of one rule or all. */
export async function showMetrics(client: AdminClient, rule: string | undefined): Promise<CommandOutput> {
  interface Row {
    readonly name: string
    readonly total: number
    readonly denied: number
    readonly shadow: number | null
    readonly meanRemaining: number | null
  }
  const json =
    rule !== undefined
      ? { rules: [await client.get<Row>(`/rules/${encodePathSegment(rule)}`)] }
      : await client.get<{ rules: readonly Row[] }>('/rules?limit=1000')
  const rows = json.rules.map(({ name, total, denied, shadow, meanRemaining }) => [
    sanitizeForTerminal(name, 40),
    formatCount(total),
    formatCount(denied),
    formatShare(denied, total),
    shadow === null ? '' : formatCount(shadow),
    meanRemaining === null ? '' : meanRemaining.toFixed(1),
  ])
  return { json, lines: formatTable(['rule', 'decisions', 'refused', '', 'shadow', 'mean left'], rows) }
}
