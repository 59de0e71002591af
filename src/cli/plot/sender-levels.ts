import type { SenderName } from '../../admin/sender-id.ts'
import type { Decision } from '../../core/decision.ts'
import type { Message } from '../../core/message.ts'
import { formatCount, formatWait, sanitizeForTerminal } from '../terminal/format.ts'
import { type ChartPoint, type LineChart, renderCharts } from './line-chart.ts'

/** Maximum points of a rule. Beyond it, neighbours are merged. */
const MAX_POINTS = 1_000
/** Maximum rules, those that decide first. */
const MAX_RULES = 8

/** Level of a rule in one span of time. */
interface LevelPoint {
  readonly atMs: number
  /** The most units in use. */
  level: number
  refused: number
}

interface RuleLevels {
  limit: number
  widthMs: number
  points: LevelPoint[]
}

/** Levels of the rules that decide about one sender, over time, in bounded memory. */
export class SenderLevels {
  readonly #sender: SenderName
  readonly #rules = new Map<string, RuleLevels>()
  #firstMs: number | undefined

  constructor(sender: SenderName) {
    this.#sender = sender
  }

  record(atMs: number, { sender }: Message, { allowed, rule, limit, remaining }: Decision): void {
    const { part, value } = this.#sender
    if (sender[part] !== value || rule === undefined || limit === undefined || remaining === undefined) return
    this.#firstMs ??= atMs
    let levels = this.#rules.get(rule)
    if (levels === undefined) {
      if (this.#rules.size >= MAX_RULES) return
      levels = { limit, widthMs: 1, points: [] }
      this.#rules.set(rule, levels)
    }
    levels.limit = limit
    const startMs = atMs - (atMs % levels.widthMs)
    let point = levels.points.at(-1)
    if (point === undefined || point.atMs < startMs) {
      point = { atMs: startMs, level: 0, refused: 0 }
      levels.points.push(point)
    }
    // A refused message finds the limit reached.
    point.level = Math.max(point.level, allowed ? limit - remaining : limit)
    if (!allowed) point.refused++
    if (levels.points.length > MAX_POINTS) mergePoints(levels)
  }

  /** Renders a chart for each rule. */
  render(): string {
    const { part, value } = this.#sender
    const name = `${part} ${sanitizeForTerminal(value, 60)}`
    const charts = [...this.#rules].map(([rule, levels]) => this.#chart(name, rule, levels))
    return renderCharts(
      charts.length === 0 ? `${name}: no rule decided about it` : `${name} against its limits`,
      charts,
    )
  }

  #chart(name: string, rule: string, { limit, points }: RuleLevels): LineChart {
    const seconds = (atMs: number): number => (atMs - this.#firstMs!) / 1_000
    const endSeconds = seconds(points.at(-1)!.atMs)
    const refused = points.filter(point => point.refused > 0)
    const count = refused.reduce((sum, point) => sum + point.refused, 0)
    const most = Math.max(...points.map(({ level }) => level))
    const level = points.map((point): ChartPoint => [seconds(point.atMs), point.level])
    return {
      title: `rule ${sanitizeForTerminal(rule, 60)}`,
      description: `${name}: at most ${formatCount(most)} of ${formatCount(limit)} in use over ${formatWait(endSeconds * 1_000)}, ${formatCount(count)} messages refused.`,
      x: {
        label: 'time since its first message',
        scale: 'linear',
        format: value => formatWait(value * 1_000),
      },
      y: { label: 'units in use', scale: 'linear', format: formatCount },
      series: [
        { name: 'level', color: '#1f6feb', points: level, style: 'steps' },
        {
          name: `limit ${formatCount(limit)}`,
          color: '#57606a',
          points: [
            [0, limit],
            [endSeconds, limit],
          ],
          style: 'dashed',
        },
        {
          name: `refused (${formatCount(count)})`,
          color: '#cf222e',
          points: refused.map(({ atMs }): ChartPoint => [seconds(atMs), limit]),
          style: 'dots',
        },
      ],
    }
  }
}

/** Doubles the span of each point. */
function mergePoints(levels: RuleLevels): void {
  levels.widthMs *= 2
  const merged: LevelPoint[] = []
  for (const { atMs, level, refused } of levels.points) {
    const startMs = atMs - (atMs % levels.widthMs)
    const last = merged.at(-1)
    if (last?.atMs === startMs) {
      last.level = Math.max(last.level, level)
      last.refused += refused
    } else merged.push({ atMs: startMs, level, refused })
  }
  levels.points = merged
}
