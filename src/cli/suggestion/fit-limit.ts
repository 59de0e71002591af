import { type BurstNeeds, CANDIDATE_RATES, type KeyNeeds } from './burst-needs.ts'

/** A mean is an outlier above median + 8 MAD of the logarithms, and at least three times the median. */
const OUTLIER_MADS = 8
const MIN_OUTLIER_FACTOR = 3
/** More keys than this share, and more than one, are no outliers but devices of another kind. */
const MAX_OUTLIER_SHARE = 0.05
/** A burst is an outlier if it is ten times that of all others but at most one key of a hundred. */
const BURST_FACTOR = 10
const BURST_OUTLIER_SHARE = 0.01
/** The burst at a rate is low enough if twice the rate needs not much less. */
const KNEE = 1.5
const RATE_HEADROOM = 1.5
const BURST_HEADROOM = 1.25

const HOUR_MS = 3_600_000

export interface FitOptions {
  /** Share of ordinary keys that the limit covers, 0 to 1. */
  readonly quantile: number
  /** Length of the part of the capture that is fitted, and of the whole capture. */
  readonly spanMs: number
  readonly capturedMs: number
  /** Keys that are set apart. Default: those that are far from the others. */
  readonly outliers?: ReadonlyMap<string, Outlier> | undefined
}

/** A key that is far from the others. It is not used for the limit. */
export interface Outlier {
  readonly key: string
  readonly messages: number
  /** How far: `sends 117 × the median`. */
  readonly reason: string
}

/** Need of ordinary keys for bursts at a rate. */
export interface BurstQuantiles {
  readonly ratePerSecond: number
  readonly p50: number
  readonly p99: number
  /** At the quantile of the fit. */
  readonly chosen: number
  readonly max: number
}

export type Confidence = 'low' | 'medium' | 'high'

/** A limit that fits the keys of a group. */
export interface FittedLimit {
  /** As in a policy: `22/min burst 8`. */
  readonly limit: string
  /** Candidate before the headroom. */
  readonly ratePerSecond: number
  /** With the headroom. */
  readonly suggestedPerSecond: number
  readonly burst: number
  readonly keys: number
  readonly messages: number
  /** Mean messages per second of ordinary keys: the median, and the quantile of the fit. */
  readonly medianPerSecond: number
  readonly quantilePerSecond: number
  readonly outliers: readonly Outlier[]
  readonly confidence: Confidence
  /** Reasons for a low confidence. */
  readonly doubts: readonly string[]
  /** At each candidate rate. */
  readonly quantiles: readonly BurstQuantiles[]
}

/** Fits a token bucket to the needs of keys. Returns undefined if there are none. */
export function fitLimit(
  needs: BurstNeeds,
  { quantile, spanMs, capturedMs, outliers }: FitOptions,
): FittedLimit | undefined {
  const all = [...needs.list()].map(each => ({ ...each, needs: each.needs.slice() }))
  if (all.length === 0) return undefined
  const seconds = Math.max(spanMs, 1_000) / 1_000
  const split = outliers === undefined ? findOutliers(all, quantile, seconds) : splitByKeys(all, outliers)
  // A limit for outliers alone is better than none.
  const ordinary = split.ordinary.length > 0 ? split.ordinary : all
  const means = sorted(ordinary.map(({ messages }) => messages / seconds))
  const quantiles = CANDIDATE_RATES.map((ratePerSecond, index): BurstQuantiles => {
    const values = sorted(ordinary.map(each => each.needs[index]!))
    return {
      ratePerSecond,
      p50: quantileOf(values, 0.5),
      p99: quantileOf(values, 0.99),
      chosen: quantileOf(values, quantile),
      max: values.at(-1)!,
    }
  })
  const quantilePerSecond = quantileOf(means, quantile)
  const knee = quantiles[findKnee(quantiles, quantilePerSecond)]!
  const suggestedPerSecond = knee.ratePerSecond * RATE_HEADROOM
  const burst = Math.ceil(knee.chosen * BURST_HEADROOM)
  const doubts = findDoubts(ordinary.length, capturedMs)
  return {
    limit: `${formatRate(suggestedPerSecond)} burst ${burst}`,
    ratePerSecond: knee.ratePerSecond,
    suggestedPerSecond,
    burst,
    keys: all.length,
    messages: all.reduce((sum, { messages }) => sum + messages, 0),
    medianPerSecond: quantileOf(means, 0.5),
    quantilePerSecond,
    outliers: split.outliers.toSorted((a, b) => b.messages - a.messages),
    confidence:
      doubts.length > 0
        ? 'low'
        : ordinary.length >= 500 && capturedMs >= 7 * 24 * HOUR_MS
          ? 'high'
          : 'medium',
    doubts,
    quantiles,
  }
}

interface Split {
  readonly ordinary: readonly KeyNeeds[]
  readonly outliers: readonly Outlier[]
}

function splitByKeys(all: readonly KeyNeeds[], outliers: ReadonlyMap<string, Outlier>): Split {
  return {
    ordinary: all.filter(({ key }) => !outliers.has(key)),
    outliers: all.flatMap(({ key, messages }) => {
      const outlier = outliers.get(key)
      return outlier === undefined ? [] : [{ ...outlier, messages }]
    }),
  }
}

function findOutliers(all: readonly KeyNeeds[], quantile: number, seconds: number): Split {
  const byMean = splitByMean(all)
  const byBurst = splitByBurst(byMean.ordinary, quantile, seconds)
  return { ordinary: byBurst.ordinary, outliers: [...byMean.outliers, ...byBurst.outliers] }
}

/** Sets keys apart whose number of messages is far above the median, on a logarithmic scale. */
function splitByMean(all: readonly KeyNeeds[]): Split {
  const logs = sorted(all.map(({ messages }) => Math.log(messages)))
  const median = quantileOf(logs, 0.5)
  const deviation = quantileOf(sorted(logs.map(log => Math.abs(log - median))), 0.5)
  const most = median + Math.max(OUTLIER_MADS * deviation, Math.log(MIN_OUTLIER_FACTOR))
  const outliers = all.filter(({ messages }) => Math.log(messages) > most)
  if (outliers.length > Math.max(1, MAX_OUTLIER_SHARE * all.length)) return { ordinary: all, outliers: [] }
  return {
    ordinary: all.filter(({ messages }) => Math.log(messages) <= most),
    outliers: outliers.map(({ key, messages }) => ({
      key,
      messages,
      reason: `sends ${formatFactor(messages / Math.exp(median))} × the median`,
    })),
  }
}

/** Sets few keys apart whose burst is far above that of all others, although their mean is ordinary. */
function splitByBurst(keys: readonly KeyNeeds[], quantile: number, seconds: number): Split {
  const mean = quantileOf(sorted(keys.map(({ messages }) => messages / seconds)), quantile)
  const rateIndex = Math.min(CANDIDATE_RATES.length - 1, firstCandidate(2 * mean))
  const byNeed = [...keys].sort((a, b) => b.needs[rateIndex]! - a.needs[rateIndex]!)
  const most = Math.max(1, Math.floor(keys.length * BURST_OUTLIER_SHARE))
  let count = 0
  for (let index = 1; index <= Math.min(most, byNeed.length - 1); index++) {
    if (byNeed[index - 1]!.needs[rateIndex]! >= BURST_FACTOR * byNeed[index]!.needs[rateIndex]!) count = index
  }
  const rest = byNeed[count]?.needs[rateIndex] ?? 1
  const outliers = byNeed.slice(0, count).map(({ key, messages, needs }) => ({
    key,
    messages,
    reason: `has bursts of ${formatFactor(needs[rateIndex]! / rest)} × those of all others`,
  }))
  return { ordinary: byNeed.slice(count), outliers }
}

/** Returns the index of the least candidate above a rate whose burst is not much above that at twice the rate. */
function findKnee(quantiles: readonly BurstQuantiles[], ratePerSecond: number): number {
  const last = quantiles.length - 1
  let index = Math.min(last, firstCandidate(ratePerSecond))
  for (; index < last; index++) {
    const twice = Math.min(last, firstCandidate(2 * CANDIDATE_RATES[index]!))
    if (quantiles[index]!.chosen <= KNEE * quantiles[twice]!.chosen) break
  }
  return index
}

/** Returns the index of the first candidate that is not below a rate. */
function firstCandidate(ratePerSecond: number): number {
  // Candidates are products: a difference in the last digit is none.
  const index = CANDIDATE_RATES.findIndex(rate => rate >= ratePerSecond * 0.999_999)
  return index < 0 ? CANDIDATE_RATES.length - 1 : index
}

function findDoubts(keys: number, capturedMs: number): readonly string[] {
  return [
    ...(keys < 50 ? [`only ${keys} ${keys === 1 ? 'sender' : 'senders'}`] : []),
    ...(capturedMs < 24 * HOUR_MS ? ['less than 24 hours'] : []),
  ]
}

const UNITS = [
  ['s', 1],
  ['min', 60],
  ['h', 3_600],
  ['day', 86_400],
] as const

/** Formats a rate for a policy: whole units of at most two digits that are not below it, and close to it. */
export function formatRate(perSecond: number): string {
  for (const [unit, seconds] of UNITS) {
    const exact = perSecond * seconds
    const step = 10 ** Math.max(0, Math.floor(Math.log10(exact)) - 1)
    const count = Math.max(1, Math.ceil((exact * 0.999_999) / step) * step)
    if (count <= exact * 1.15 || unit === 'day') return `${count}/${unit}`
  }
  return '1/day'
}

function formatFactor(factor: number): string {
  return factor >= 10 ? factor.toFixed(0) : factor.toFixed(1)
}

function sorted(values: readonly number[] | Float64Array): Float64Array {
  return Float64Array.from(values).sort()
}

/** Returns the value below which a share of sorted values lies: the nearest one above. */
function quantileOf(values: Float64Array, quantile: number): number {
  return values[Math.max(0, Math.ceil(values.length * quantile) - 1)] ?? 0
}
