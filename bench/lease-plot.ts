import type { Simulation } from './lease-simulation.ts'

const [WIDTH, LEFT, RIGHT] = [960, 70, 20]
const PANEL_HEIGHT = 150
const PANEL_TOPS = [60, 250, 440] as const
const [TOP, BOTTOM] = [PANEL_TOPS[0], PANEL_TOPS[2] + PANEL_HEIGHT]

const GREY = '#9ca3af'
const ORANGE = '#d97706'
const BLUE = '#2563eb'

interface Line {
  readonly name: string
  readonly colour: string
  /** A value for each sample. */
  readonly values: readonly number[]
}

/** Returns a plot of a simulation as SVG: messages that pass, the difference from an exact counter, calls of the store. */
export function drawLeases(simulation: Simulation): string {
  const { nodes, limit, phases, samples, bound } = simulation
  const endMs = samples.at(-1)!.atMs
  const x = (atMs: number): number => LEFT + ((WIDTH - LEFT - RIGHT) * atMs) / endMs
  const times = samples.map(({ atMs }) => x(atMs))
  const sent = samples.map(each => each.sent)
  let difference = 0
  const differences = samples.map(({ atMs, admitted, exact }, index) => {
    difference += ((admitted - exact) * (atMs - (samples[index - 1]?.atMs ?? 0))) / 1_000
    return difference
  })
  let fromMs = 0
  const marks = phases.map(({ name, seconds }) => {
    const at = x(fromMs).toFixed(1)
    fromMs += seconds * 1_000
    return (
      `<line x1="${at}" x2="${at}" y1="${TOP}" y2="${BOTTOM}" stroke="#d1d5db" stroke-dasharray="3 3"/>` +
      text(Number(at) + 4, BOTTOM + 16, name)
    )
  })
  const title = `${nodes} nodes share a limit of ${limit.count.toLocaleString('en')} messages a second`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${BOTTOM + 30}" font-family="sans-serif" font-size="12">`,
    `<title>${title}</title>`,
    `<rect width="${WIDTH}" height="${BOTTOM + 30}" fill="white"/>`,
    text(LEFT, 20, title, 'font-size="15" font-weight="bold"'),
    ...marks,
    panel('messages a second', PANEL_TOPS[0], times, [
      { name: 'sent', colour: GREY, values: sent },
      { name: 'admitted by one exact counter', colour: ORANGE, values: samples.map(each => each.exact) },
      { name: 'admitted with leases', colour: BLUE, values: samples.map(each => each.admitted) },
    ]),
    panel(`messages more than one exact counter admits (bound: ${bound})`, PANEL_TOPS[1], times, [
      { name: 'with leases', colour: BLUE, values: differences },
    ]),
    panel('calls of the store a second', PANEL_TOPS[2], times, [
      { name: 'without leases', colour: GREY, values: sent },
      { name: 'with leases', colour: BLUE, values: samples.map(each => each.calls) },
    ]),
    '</svg>',
    '',
  ].join('\n')
}

function panel(title: string, top: number, times: readonly number[], lines: readonly Line[]): string {
  const all = lines.flatMap(({ values }) => values)
  const [least, most] = [Math.min(0, ...all), Math.max(1, ...all)]
  const stepSize = 10 ** Math.floor(Math.log10(most - least))
  const y = (value: number): number => top + PANEL_HEIGHT * ((most - value) / (most - least))
  const first = Math.ceil(least / stepSize)
  const grid = Array.from({ length: Math.floor(most / stepSize) - first + 1 }, (_, index) => {
    const value = (first + index) * stepSize
    const at = y(value).toFixed(1)
    return (
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}" stroke="#e5e7eb"/>` +
      text(LEFT - 6, Number(at) + 4, value.toLocaleString('en'), 'text-anchor="end"')
    )
  })
  const legend = lines.map(({ name, colour }, index) =>
    text(WIDTH - RIGHT - 200 * (lines.length - index), top - 8, `— ${name}`, `fill="${colour}"`),
  )
  const drawn = lines.map(({ colour, values }) => {
    const points = values.map((value, index) => `${times[index]!.toFixed(1)},${y(value).toFixed(1)}`)
    return `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${points.join(' ')}"/>`
  })
  return [text(LEFT, top - 8, title, 'font-weight="bold"'), ...legend, ...grid, ...drawn].join('\n')
}

function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${x}" y="${y}" ${attributes}>${content}</text>`
}
