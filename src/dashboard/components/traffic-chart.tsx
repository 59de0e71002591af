import { useEffect, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import type { SeriesPoint } from '../api/types.ts'
import { type ChartMark, SPAN_INFO, type Span } from '../format/chart-data.ts'
import { formatRate, formatTime } from '../format/format.ts'

const HEIGHT = 220
const AXIS_WIDTH = 56
const AXIS_HEIGHT = 28
/** Least distance of the times of the axis. */
const AXIS_SPACE = 80
/** Shortest time axis, of a server that has just started. */
const MIN_LENGTH_MS = 120_000
const MARK_DASH = [4, 3]

interface TrafficChartProps {
  readonly span: Span
  readonly points: readonly SeriesPoint[]
  readonly marks: readonly ChartMark[]
  /** End of the time axis. */
  readonly endMs: number
}

/** Stacked areas of allowed and refused messages, with a line for each change or alert. */
export function TrafficChart({ span, points, marks, endMs }: TrafficChartProps) {
  const container = useRef<HTMLDivElement>(null)
  const chart = useRef<uPlot>(null)
  // Read by the chart while it draws.
  const drawn = useRef({ marks, endMs })
  drawn.current = { marks, endMs }
  const [pointed, setPointed] = useState<number | null>(null)
  const theme = useTheme()

  useEffect(() => {
    const place = container.current!
    const readState = (): DrawnState => drawn.current
    const created = new uPlot(chartOptions(span, place, readState, setPointed), [[], [], []], place)
    chart.current = created
    const observer = new ResizeObserver(() => created.setSize({ width: place.clientWidth, height: HEIGHT }))
    observer.observe(place)
    return () => {
      observer.disconnect()
      created.destroy()
    }
  }, [span, theme])

  useEffect(() => {
    const { unitMs, stepMs } = SPAN_INFO[span]
    const scale = unitMs / stepMs
    chart.current!.setData([
      points.map(({ atMs }) => atMs / 1_000),
      points.map(({ allowed, blocked }) => (allowed + blocked) * scale),
      points.map(({ allowed }) => allowed * scale),
    ])
  }, [points, marks, span, theme])

  const at = pointed === null ? points.at(-1) : points[pointed]
  return (
    <>
      <div
        class="chart"
        ref={container}
        role="img"
        aria-label={`${describe(span, at)} The table has all points.`}
      />
      <p class="readout">{describe(span, at)}</p>
    </>
  )
}

function describe(span: Span, point: SeriesPoint | undefined): string {
  if (point === undefined) return 'No decisions yet.'
  const { unitMs, stepMs, unit } = SPAN_INFO[span]
  const rate = (count: number): string => `${formatRate((count * unitMs) / stepMs)}/${unit}`
  const time = formatTime(point.atMs, Date.now())
  return `${time}: ${rate(point.allowed)} allowed, ${rate(point.blocked)} refused.`
}

interface DrawnState {
  readonly marks: readonly ChartMark[]
  readonly endMs: number
}

function chartOptions(
  span: Span,
  place: HTMLElement,
  readState: () => DrawnState,
  onPoint: (index: number | null) => void,
): uPlot.Options {
  const { lengthMs, step, stepMs } = SPAN_INFO[span]
  const style = getComputedStyle(place)
  const color = (name: string): string => style.getPropertyValue(`--${name}`).trim()
  const font = `12px ${style.fontFamily}`
  const paths = step === undefined ? uPlot.paths.bars!({ size: [0.7], align: 1 }) : undefined
  const area = (name: string): uPlot.Series => ({
    stroke: color(name),
    fill: color(`${name}-fill`),
    width: 1,
    paths,
    points: { show: false },
  })
  const axis: uPlot.Axis = {
    stroke: color('text-muted'),
    font,
    grid: { stroke: color('line'), width: 1 },
    ticks: { show: false },
  }
  return {
    width: place.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    scales: {
      x: {
        range: (_chart, firstSeconds) => {
          const { endMs } = readState()
          if (step === undefined) return [(endMs + stepMs - lengthMs) / 1_000, (endMs + stepMs) / 1_000]
          const dataMs = endMs - 1_000 * (firstSeconds ?? 0)
          return [(endMs - Math.max(MIN_LENGTH_MS, Math.min(lengthMs, dataMs))) / 1_000, endMs / 1_000]
        },
      },
      y: { range: (_chart, _min, max) => [0, Math.max(1, max * 1.1)] },
    },
    axes: [
      {
        ...axis,
        size: AXIS_HEIGHT,
        space: AXIS_SPACE,
        values: axisTimes,
      },
      { ...axis, size: AXIS_WIDTH, values: (_chart, rates) => rates.map(each => formatRate(each)) },
    ],
    series: [{}, area('blocked'), area('allowed')],
    hooks: {
      draw: [chart => drawMarks(chart, readState().marks, color)],
      setCursor: [({ cursor }) => onPoint(cursor.idx ?? null)],
    },
  }
}

const HOURS = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' })
const SECONDS = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' })
const DAYS = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' })
const DAY_SECONDS = 86_400

/** Returns the texts of the time axis; the distance of its lines decides the form. */
function axisTimes(_chart: uPlot, times: number[], _axis: number, _space: number, step: number): string[] {
  const format = step < 60 ? SECONDS : step < DAY_SECONDS ? HOURS : DAYS
  return times.map(seconds => format.format(1_000 * seconds))
}

/** Draws a dashed line with a triangle on top for each mark. */
function drawMarks(chart: uPlot, marks: readonly ChartMark[], color: (name: string) => string): void {
  const { ctx, bbox } = chart
  const size = 5 * devicePixelRatio
  ctx.save()
  ctx.setLineDash(MARK_DASH)
  for (const { atMs, kind } of marks) {
    const x = Math.round(chart.valToPos(atMs / 1_000, 'x', true))
    if (x < bbox.left || x > bbox.left + bbox.width) continue
    ctx.strokeStyle = ctx.fillStyle = color(kind === 'alert' ? 'critical' : 'text')
    ctx.beginPath()
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
    ctx.stroke()
    ctx.beginPath()
    ctx.moveTo(x - size, bbox.top)
    ctx.lineTo(x + size, bbox.top)
    ctx.lineTo(x, bbox.top + 1.5 * size)
    ctx.fill()
  }
  ctx.restore()
}

/** Changes with the colours that the system prefers, so that the chart is drawn again. */
function useTheme(): boolean {
  const [query] = useState(() => matchMedia('(prefers-color-scheme: dark)'))
  const [isDark, setIsDark] = useState(query.matches)
  useEffect(() => {
    const update = (): void => setIsDark(query.matches)
    query.addEventListener('change', update)
    return () => query.removeEventListener('change', update)
  }, [query])
  return isDark
}
