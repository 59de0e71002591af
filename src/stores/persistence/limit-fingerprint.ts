import { type CalendarUnit, createLimit } from '../../algorithms/index.ts'
import { ALGORITHM_NAMES, type AlgorithmName, type Limit } from '../../algorithms/limit-types.ts'

/** Version of the cell format; cells of another version are discarded. */
const VERSION = 2

type Numbers = readonly [
  version: number,
  algorithm: string,
  count: number,
  periodMs: number,
  burst: number,
  initial: number,
  scale: number,
  unit?: CalendarUnit,
  zone?: string,
  from?: number,
]

const texts = new WeakMap<Limit, string>()

/**
 * Returns a rule's numbers as short text; equal texts mean that cells have the same meaning and lead to the same
 * decisions.
 */
export function fingerprintLimit(limit: Limit): string {
  let text = texts.get(limit)
  if (text === undefined) {
    const { algorithm, count, periodMs, capacity, initialGrains, scale, calendar } = limit
    const numbers: Numbers = [VERSION, algorithm, count, periodMs, capacity, initialGrains / scale, scale]
    // The default first day is not written, for compatibility with earlier versions.
    const from = calendar === undefined || calendar.from === 1 ? [] : [calendar.from]
    text = JSON.stringify(calendar ? [...numbers, calendar.unit, calendar.zone, ...from] : numbers)
    texts.set(limit, text)
  }
  return text
}

/**
 * Returns the limit that a text describes. Uses the custom algorithm of `now` if the name matches. Returns undefined
 * for another version or an unknown algorithm.
 */
export function parseLimitFingerprint(
  text: string,
  now?: Pick<Limit, 'name' | 'algorithm' | 'custom'>,
): Limit | undefined {
  const [version, name, count, periodMs, burst, initial, scale, unit, zone, from] = JSON.parse(
    text,
  ) as Numbers
  if (version !== VERSION) return undefined
  const own = now?.custom !== undefined && now.algorithm === name ? now.custom : undefined
  if (own === undefined && !ALGORITHM_NAMES.some(known => known === name)) return undefined
  return createLimit({
    name: now?.name ?? '',
    algorithm: own ?? (name as AlgorithmName),
    count,
    periodMs,
    fractional: scale === 1000,
    ...(own && { burst }),
    ...(name === 'token-bucket' && { burst, initial }),
    ...(unit !== undefined && zone !== undefined && { calendar: { unit, zone, from } }),
  })
}
