import type { Status } from '../../admin/schemas/overview.ts'
import type { SenderCard } from '../../admin/schemas/senders.ts'
import type { AnalyticsSnapshot } from '../../index.ts'
import { formatCount, formatShare, formatTable, formatWait, sanitizeForTerminal } from '../terminal/format.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { type AdminClient, type ConnectionFlags, openAdminClient } from './client.ts'
import { type LiveView, showLiveView } from './live-view.ts'
import { renderCard } from './render-card.ts'
import { encodePathSegment, runAdminCommand } from './run.ts'

const SHOWN = 10

export interface TopFlags extends ConnectionFlags {
  readonly once?: boolean
  /** Order of the clients. */
  readonly by: 'refused' | 'rate'
}

interface TopView {
  readonly status: Status
  readonly perSecond: { readonly allowed: number; readonly blocked: number }
  readonly by: TopFlags['by']
  readonly senders: readonly { readonly id: string; readonly count: number }[]
  readonly topics: AnalyticsSnapshot['topBlocked']['topics']['list']
  readonly rules: AnalyticsSnapshot['topBlocked']['rules']['list']
  readonly blockRate: number
}

/**
 * Shows rates, block rate and the most refused, until SIGINT or `q`; with `once` a single time. Up and down select a
 * client, Enter opens its card.
 */
export async function top(flags: TopFlags, terminal: Terminal): Promise<number> {
  const isLive = !flags.once && !flags.json && terminal.stdout.isTTY === true
  if (!isLive)
    return runAdminCommand(flags, terminal, async client => {
      const view = await readView(client, flags.by)
      return { json: view, lines: render(view, undefined) }
    })
  const screen = new TopScreen(openAdminClient(flags, terminal.env), flags.by)
  return showLiveView(screen, flags, terminal)
}

/** Live view of `top`: the lists, or the card of the sender that was opened. */
class TopScreen implements LiveView {
  readonly #client: AdminClient
  readonly #by: TopFlags['by']
  #senders: TopView['senders'] = []
  #selected = 0
  #opened: string | undefined

  constructor(client: AdminClient, by: TopFlags['by']) {
    this.#client = client
    this.#by = by
  }

  async read(): Promise<readonly string[]> {
    if (this.#opened !== undefined) {
      const card = await this.#client.get<SenderCard>(`/senders/${encodePathSegment(this.#opened)}`)
      return [...renderCard(card, Date.now()), '', 'Esc goes back, q ends']
    }
    const view = await readView(this.#client, this.#by)
    this.#senders = view.senders
    this.#selected = Math.min(this.#selected, Math.max(0, view.senders.length - 1))
    return [...render(view, this.#selected), '', 'up and down select a client, Enter opens its card, q ends']
  }

  onKey(name: string): void {
    if (name === 'escape' || name === 'backspace' || name === 'left') this.#opened = undefined
    else if (this.#opened !== undefined) return
    else if (name === 'down') this.#selected = Math.min(this.#selected + 1, this.#senders.length - 1)
    else if (name === 'up') this.#selected = Math.max(this.#selected - 1, 0)
    else if (name === 'return' || name === 'enter') this.#opened = this.#senders[this.#selected]?.id
  }
}

async function readView(client: AdminClient, by: TopFlags['by']): Promise<TopView> {
  const status = await client.get<Status>('/status')
  const summary = await client.get<AnalyticsSnapshot>('/summary?range=1h')
  const { senders } = await client.get<{ senders: TopView['senders'] }>(`/senders?by=${by}&limit=${SHOWN}`)
  const { points } = await client.get<{ points: TopView['perSecond'][] }>('/series?step=1s&for=2s')
  const { allowed, blocked } = points.at(-1) ?? { allowed: 0, blocked: 0 }
  const { topics, rules } = summary.topBlocked
  return {
    status,
    perSecond: { allowed, blocked },
    by,
    senders,
    topics: topics.list,
    rules: rules.list,
    blockRate: summary.blockRate,
  }
}

/** Renders the lists. `selected` is the index of the marked client, if one can be opened. */
function render(view: TopView, selected: number | undefined): readonly string[] {
  const { status, perSecond, by, senders, topics, rules, blockRate } = view
  const { allowed, blocked } = perSecond
  const { store, load } = status
  const list = (
    title: string,
    counted: string,
    rows: readonly (readonly [string, number])[],
  ): readonly string[] => [
    '',
    ...formatTable(
      [title, counted],
      rows.map(([name, count]) => [sanitizeForTerminal(name, 60), formatCount(count)]),
    ),
  ]
  const mark = (index: number): string => (selected === undefined ? '' : index === selected ? '> ' : '  ')
  return [
    `${sanitizeForTerminal(status.node)}  up ${formatWait(status.uptimeMs)}  policy ${status.policy.etag}  store ${store.name} ${store.ok ? 'ok' : 'DOWN'}  alerts ${status.alerts}`,
    `${formatCount(allowed + blocked)}/s  blocked ${formatShare(blocked, allowed + blocked)} now, ${formatShare(blockRate, 1)} in the last hour`,
    `connections ${status.connections ?? '?'}  held ${status.held ?? '?'}  load factor ${load?.factor ?? 1}`,
    ...list(
      by === 'rate' ? 'busiest clients' : 'most refused clients',
      by === 'rate' ? 'messages/s' : 'refused',
      senders.map(({ id, count }, index) => [mark(index) + id, count]),
    ),
    ...list(
      'topics',
      'refused',
      topics.map(({ name, count }) => [name, count]),
    ),
    ...list(
      'rules',
      'refused',
      rules.map(({ name, count }) => [name, count]),
    ),
  ]
}
