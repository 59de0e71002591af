import type { Status } from '../../admin/schemas/overview.ts'
import type { AnalyticsSnapshot } from '../../index.ts'
import { EXIT } from '../command-error.ts'
import { formatCount, formatShare, formatTable, formatWait, printable } from '../format.ts'
import { RedrawnLines } from '../redrawn-lines.ts'
import type { Terminal } from '../terminal.ts'
import { TerminationSignalWaiter } from '../termination-signal-waiter.ts'
import { type AdminClient, type ConnectionFlags, openAdminClient } from './client.ts'
import { type CommandOutput, runAdminCommand } from './run.ts'

const REFRESH_MS = 1_000
const SHOWN = 10

interface TopView {
  readonly status: Status
  readonly perSecond: { readonly allowed: number; readonly blocked: number }
  readonly senders: readonly { readonly id: string; readonly count: number }[]
  readonly topics: AnalyticsSnapshot['topBlocked']['topics']['list']
  readonly rules: AnalyticsSnapshot['topBlocked']['rules']['list']
  readonly blockRate: number
}

/** Shows rates, block rate and the most refused, until SIGINT; with `once` a single time. */
export async function top(
  flags: ConnectionFlags & { readonly once?: boolean },
  terminal: Terminal,
): Promise<number> {
  const isLive = !flags.once && !flags.json && terminal.stdout.isTTY === true
  if (!isLive) return runAdminCommand(flags, terminal, async client => outputOf(await readView(client)))
  const screen = new RedrawnLines(terminal.stdout)
  const stop = new TerminationSignalWaiter()
  try {
    const client = openAdminClient(flags, terminal.env)
    let isStopped = false
    void stop.received.then(() => {
      isStopped = true
    })
    while (!isStopped) {
      screen.draw(render(await readView(client)))
      await Promise.race([stop.received, new Promise(resolve => setTimeout(resolve, REFRESH_MS))])
    }
  } finally {
    stop.release()
  }
  return EXIT.fine
}

function outputOf(view: TopView): CommandOutput {
  return { json: view, lines: render(view) }
}

async function readView(client: AdminClient): Promise<TopView> {
  const status = await client.get<Status>('/status')
  const summary = await client.get<AnalyticsSnapshot>('/summary?range=1h')
  const { senders } = await client.get<{ senders: TopView['senders'] }>(`/senders?limit=${SHOWN}`)
  const { points } = await client.get<{ points: TopView['perSecond'][] }>('/series?step=1s&for=2s')
  const { allowed, blocked } = points.at(-1) ?? { allowed: 0, blocked: 0 }
  const { topics, rules } = summary.topBlocked
  return {
    status,
    perSecond: { allowed, blocked },
    senders,
    topics: topics.list,
    rules: rules.list,
    blockRate: summary.blockRate,
  }
}

function render({ status, perSecond, senders, topics, rules, blockRate }: TopView): readonly string[] {
  const { allowed, blocked } = perSecond
  const { store, load } = status
  const list = (title: string, rows: readonly (readonly [string, number])[]): readonly string[] => [
    '',
    ...formatTable(
      [title, 'refused'],
      rows.map(([name, count]) => [printable(name, 60), formatCount(count)]),
    ),
  ]
  return [
    `${printable(status.node)}  up ${formatWait(status.uptimeMs)}  policy ${status.policy.etag}  store ${store.name} ${store.ok ? 'ok' : 'DOWN'}  alerts ${status.alerts}`,
    `${formatCount(allowed + blocked)}/s  blocked ${formatShare(blocked, allowed + blocked)} now, ${formatShare(blockRate, 1)} in the last hour`,
    `connections ${status.connections ?? '?'}  held ${status.held ?? '?'}  load factor ${load?.factor ?? 1}`,
    ...list(
      'most refused clients',
      senders.map(({ id, count }) => [id, count]),
    ),
    ...list(
      'topics',
      topics.map(({ name, count }) => [name, count]),
    ),
    ...list(
      'rules',
      rules.map(({ name, count }) => [name, count]),
    ),
  ]
}
