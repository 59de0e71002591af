/** A rate as a policy writes it: `10/s burst 20`, `5 per 5 minutes`, `10000/day`. */
export interface Rate {
  /** Units a period; undefined if unlimited. */
  readonly count: number | undefined
  readonly periodMs: number
  readonly burst: number | undefined
  /** The calendar window the unit of time names. */
  readonly window: 'day' | 'week' | 'month' | 'year' | undefined
  /** The first day of a month, or of a week from 1 for Monday. */
  readonly from?: number | undefined
  readonly isBytes: boolean
  /** Scopes of an exemption's limit, as `5/min per client`. */
  readonly per: readonly string[]
}

const UNITS_MS: readonly (readonly [RegExp, number])[] = [
  [/^(ms|milliseconds?)$/, 1],
  [/^(s|sec|seconds?)$/, 1_000],
  [/^(m|min|minutes?)$/, 60_000],
  [/^(h|hours?)$/, 3_600_000],
  [/^(d|days?)$/, 86_400_000],
  [/^(w|weeks?)$/, 604_800_000],
  [/^months?$/, 2_592_000_000],
  [/^(y|years?)$/, 31_536_000_000],
]

export function readUnitMs(text: string): number {
  const found = UNITS_MS.find(([pattern]) => pattern.test(text))
  if (found === undefined) throw new Error(`the model knows no unit of time "${text}"`)
  return found[1]
}

/** Milliseconds of `250ms`, `30s`, `1h`. */
export function readDurationMs(text: string | number): number {
  if (typeof text === 'number') return text
  const [, count, unit] = /^(\d+) ?([a-z]+)$/.exec(text.trim()) ?? []
  return Number(count) * readUnitMs(unit ?? '')
}

const SIZES: Readonly<Record<string, number>> = { '': 1, k: 1e3, Ki: 1024, M: 1e6 }

/** Bytes of `4kB`, `1MB`. */
export function readBytes(text: string | number): number {
  if (typeof text === 'number') return text
  const [, count, prefix = ''] = /^(\d+)(k|Ki|M)?B$/.exec(text) ?? []
  return Number(count) * SIZES[prefix]!
}

export function readRate(text: string): Rate {
  const [, rest, day, name] = /^(.*) from (?:day (\d+)|(\w+))$/.exec(text) ?? []
  if (rest !== undefined) {
    const weekdays = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday']
    return { ...readRate(rest), from: day === undefined ? weekdays.indexOf(name!) + 1 : Number(day) }
  }
  const words = text.trim()
  const plain = { window: undefined, burst: undefined, isBytes: false, per: [] }
  if (words === 'unlimited') return { ...plain, count: undefined, periodMs: 1 }
  const form =
    /^(\d+)((?:k|Ki|M)?B)?(?:\/| per )(?:(\d+) ?)?([a-z]+)(?: burst (\d+)((?:k|Ki|M)?B)?)?(?: per (.+))?$/
  const [, count, bytes, every = '1', unit = '', burst, burstBytes, per] = form.exec(words) ?? []
  if (count === undefined) throw new Error(`the model cannot read the rate "${text}"`)
  const named = /^(day|week|month|year)$/.exec(unit === 'd' ? 'day' : unit)?.[1]
  return {
    count: bytes === undefined ? Number(count) : readBytes(`${count}${bytes}`),
    periodMs: Number(every) * readUnitMs(unit),
    burst: burst === undefined ? undefined : readBytes(`${burst}${burstBytes ?? 'B'}`),
    window: every === '1' ? (named as Rate['window']) : undefined,
    isBytes: bytes !== undefined,
    per: per === undefined ? [] : per.split(',').map(scope => scope.trim()),
  }
}

/** Whole thousandths of `x0.5`. */
export function readFactor(text: string): number {
  return Math.round(Number(text.trim().slice(1)) * 1000)
}
