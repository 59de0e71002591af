import { escapeXml } from './escape-xml.ts'

/** A line of a chart. */
export interface ChartSeries {
  readonly name: string
  /** CSS colour. */
  readonly color: string
  readonly points: readonly ChartPoint[]
  readonly style?: 'solid' | 'dashed' | 'steps' | 'dots' | undefined
}

export type ChartPoint = readonly [x: number, y: number]

export interface ChartAxis {
  readonly label: string
  readonly scale: 'linear' | 'log'
  readonly format: (value: number) => string
}

export interface LineChart {
  readonly title: string
  /** Describes the chart for readers who do not see it. */
  readonly description: string
  readonly x: ChartAxis
  readonly y: ChartAxis
  readonly series: readonly ChartSeries[]
}

const WIDTH = 800
const HEIGHT = 360
const MARGIN = { left: 70, right: 20, top: 40, bottom: 80 }
const TICKS = 6

/** Renders charts below each other as one SVG document, with titles and descriptions for screen readers. */
export function renderCharts(title: string, charts: readonly LineChart[]): string {
  const height = HEIGHT * Math.max(1, charts.length)
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="title" font-family="sans-serif" font-size="12">`,
    `<title id="title">${escapeXml(title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    ...charts.flatMap((chart, index) => renderChart(chart, index)),
    '</svg>',
    '',
  ].join('\n')
}

function renderChart(chart: LineChart, index: number): readonly string[] {
  const { title, description, x, y, series } = chart
  const points = series.flatMap(each => each.points)
  const scaleX = createScale(
    x,
    points.map(([value]) => value),
    MARGIN.left,
    WIDTH - MARGIN.right,
  )
  const scaleY = createScale(
    y,
    points.map(([, value]) => value),
    HEIGHT - MARGIN.bottom,
    MARGIN.top,
  )
  const id = `chart${index + 1}`
  return [
    `<g transform="translate(0 ${index * HEIGHT})" role="img" aria-labelledby="${id} ${id}-text">`,
    `<title id="${id}">${escapeXml(title)}</title>`,
    `<desc id="${id}-text">${escapeXml(description)}</desc>`,
    `<text x="${MARGIN.left}" y="24" font-size="15" font-weight="bold">${escapeXml(title)}</text>`,
    ...scaleX.ticks.flatMap(value => {
      const at = round(scaleX.toPixels(value))
      return [
        `<line x1="${at}" y1="${MARGIN.top}" x2="${at}" y2="${HEIGHT - MARGIN.bottom}" stroke="#e5e5e5"/>`,
        `<text x="${at}" y="${HEIGHT - MARGIN.bottom + 16}" text-anchor="middle">${escapeXml(x.format(value))}</text>`,
      ]
    }),
    ...scaleY.ticks.flatMap(value => {
      const at = round(scaleY.toPixels(value))
      return [
        `<line x1="${MARGIN.left}" y1="${at}" x2="${WIDTH - MARGIN.right}" y2="${at}" stroke="#e5e5e5"/>`,
        `<text x="${MARGIN.left - 6}" y="${at + 4}" text-anchor="end">${escapeXml(y.format(value))}</text>`,
      ]
    }),
    `<text x="${(MARGIN.left + WIDTH - MARGIN.right) / 2}" y="${HEIGHT - MARGIN.bottom + 36}" text-anchor="middle">${escapeXml(x.label)}</text>`,
    `<text transform="translate(16 ${(MARGIN.top + HEIGHT - MARGIN.bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeXml(y.label)}</text>`,
    ...series.flatMap(each => renderSeries(each, scaleX, scaleY)),
    ...series.flatMap(({ name, color }, seriesIndex) => {
      const left = MARGIN.left + (seriesIndex * (WIDTH - MARGIN.left)) / series.length
      return [
        `<rect x="${round(left)}" y="${HEIGHT - 26}" width="12" height="12" fill="${color}"/>`,
        `<text x="${round(left + 18)}" y="${HEIGHT - 16}">${escapeXml(name)}</text>`,
      ]
    }),
    '</g>',
  ]
}

function renderSeries(
  { color, points, style = 'solid' }: ChartSeries,
  x: Scale,
  y: Scale,
): readonly string[] {
  const positions = points.map(([atX, atY]) => [round(x.toPixels(atX)), round(y.toPixels(atY))] as const)
  if (style === 'dots') {
    return positions.map(([left, top]) => `<circle cx="${left}" cy="${top}" r="3.5" fill="${color}"/>`)
  }
  const path = positions
    .map(([left, top], index) => {
      if (index === 0) return `M${left} ${top}`
      return style === 'steps' ? `H${left}V${top}` : `L${left} ${top}`
    })
    .join('')
  const dash = style === 'dashed' ? ' stroke-dasharray="6 4"' : ''
  return positions.length === 0
    ? []
    : [`<path d="${path}" fill="none" stroke="${color}" stroke-width="1.5"${dash}/>`]
}

interface Scale {
  readonly ticks: readonly number[]
  /** Returns the position of a value in pixels. */
  toPixels(value: number): number
}

function createScale({ scale }: ChartAxis, values: readonly number[], from: number, to: number): Scale {
  const isLog = scale === 'log'
  let least = isLog ? Infinity : 0
  let most = isLog ? 1 : 0
  for (const value of values) {
    if (!isLog || value > 0) least = Math.min(least, value)
    most = Math.max(most, value)
  }
  if (least === Infinity) least = most / 10
  if (most <= least) most = isLog ? least * 10 : least + 1
  const project = (value: number): number => (isLog ? Math.log10(Math.max(value, least)) : value)
  const span = project(most) - project(least)
  return {
    ticks: isLog ? logTicks(least, most) : linearTicks(least, most),
    toPixels: value => from + ((to - from) * (project(value) - project(least))) / span,
  }
}

function linearTicks(least: number, most: number): readonly number[] {
  const rough = (most - least) / TICKS
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map(factor => factor * power).find(each => each >= rough) ?? rough
  const first = Math.ceil(least / step)
  const last = Math.floor(most / step)
  return Array.from({ length: last - first + 1 }, (_, index) =>
    Number(((first + index) * step).toPrecision(12)),
  )
}

function logTicks(least: number, most: number): readonly number[] {
  const first = Math.ceil(Math.log10(least) - 1e-9)
  const last = Math.floor(Math.log10(most) + 1e-9)
  const every = Math.max(1, Math.ceil((last - first) / TICKS))
  const ticks: number[] = []
  for (let power = first; power <= last; power += every) ticks.push(Number(`1e${power}`))
  return ticks.length > 0 ? ticks : [least]
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
