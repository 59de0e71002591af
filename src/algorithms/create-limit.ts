import { policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import { type CalendarSpec, CalendarWindow } from './calendar.ts'
import { checkCustomAlgorithm } from './custom.ts'
import type { CustomAlgorithm } from './custom-algorithm-types.ts'
import { kernelOfCustomAlgorithm } from './custom-kernel.ts'
import { fixedWindowKernel } from './fixed-window.ts'
import { leakyBucketKernel } from './leaky-bucket.ts'
import type { Kernel } from './limit-types.ts'
import { ALGORITHM_NAMES, type AlgorithmName, type Limit } from './limit-types.ts'
import { quotaKernel } from './quota.ts'
import { slidingCounterKernel } from './sliding-counter.ts'
import { slidingLogKernel } from './sliding-log.ts'
import { tokenBucketKernel } from './token-bucket.ts'

export const KERNELS: Readonly<Record<AlgorithmName, Kernel>> = {
  'token-bucket': tokenBucketKernel,
  'leaky-bucket': leakyBucketKernel,
  'fixed-window': fixedWindowKernel,
  'sliding-log': slidingLogKernel,
  'sliding-counter': slidingCounterKernel,
  quota: quotaKernel,
}

export interface LimitSpec {
  readonly name: string
  readonly algorithm: AlgorithmName | CustomAlgorithm
  /** Units per period, a whole number above 0. */
  readonly count: number
  readonly periodMs: number
  /** Token buckets and custom algorithms only. Default: the count. */
  readonly burst?: number | undefined
  /** Token buckets only. Default: the burst. */
  readonly initial?: number | undefined
  /** True if costs may be fractions, in thousandths. */
  readonly fractional?: boolean | undefined
  /** Required for quotas. */
  readonly calendar?: CalendarSpec | undefined
}

const OPTIONS: KnownOptions<LimitSpec> = {
  name: true,
  algorithm: true,
  count: true,
  periodMs: true,
  burst: true,
  initial: true,
  fractional: true,
  calendar: true,
}

/** Whole numbers below this stay exact in a double; half of 2^53 leaves room for one addition. */
const EXACT = 2 ** 52

/** Creates a validated limit. Throws PolicyError if the numbers are invalid or too large to be counted exactly. */
export function createLimit(spec: LimitSpec): Limit {
  checkOptionNames(spec, OPTIONS)
  const { name, count, periodMs } = spec
  const custom = typeof spec.algorithm === 'object' ? spec.algorithm : undefined
  if (custom) checkCustomAlgorithm(custom)
  const algorithm = typeof spec.algorithm === 'object' ? 'custom' : spec.algorithm
  const burst = spec.burst ?? count
  const initial = spec.initial ?? burst
  if (custom === undefined && !ALGORITHM_NAMES.some(known => known === algorithm)) {
    throw policyError(
      'algorithm',
      `unknown algorithm "${String(algorithm)}"`,
      `use one of ${ALGORITHM_NAMES.join(', ')}`,
    )
  }
  wholeAbove('limit', count, 1)
  wholeAbove('limit', periodMs, 1)
  wholeAbove('burst', burst, 1)
  wholeAbove('initial', initial, 0)
  const bursts = algorithm === 'token-bucket' || algorithm === 'custom'
  const extra =
    spec.burst !== undefined && !bursts ? 'burst' : spec.initial !== undefined ? 'initial' : undefined
  if (extra !== undefined && algorithm !== 'token-bucket') {
    const kind = custom?.name ?? algorithm
    const what = bursts ? 'initial tokens' : 'burst'
    throw policyError(extra, `a ${kind} has no ${what}`, 'leave it out, or use algorithm: token-bucket')
  }
  if (initial > burst) throw policyError('initial', `${initial} is more than the burst of ${burst}`)
  if (algorithm === 'quota' && spec.calendar === undefined) {
    throw policyError('quota', 'needs a calendar window', 'write N/day, N/week, N/month or N/year')
  }

  const scale = spec.fractional ? 1000 : 1
  const capacity = bursts ? burst : count
  const spare = algorithm === 'leaky-bucket' ? SPARE : 1
  const stepsPerGrain = stepsOf(count * scale, periodMs, capacity * scale * spare)
  const stepsPerMs = (count * scale * stepsPerGrain) / periodMs
  const largest = {
    'token-bucket': capacity * scale * stepsPerGrain,
    'leaky-bucket': capacity * scale * stepsPerGrain,
    'fixed-window': count * scale,
    'sliding-log': count * scale,
    'sliding-counter': count * scale * periodMs,
    quota: count * scale,
    custom: Math.max(count, capacity) * scale,
  } satisfies Record<AlgorithmName | 'custom', number>
  if (largest[algorithm] > EXACT) {
    throw policyError(
      'limit',
      `${count} per ${periodMs} ms is too large for a ${custom?.name ?? algorithm} to count exactly`,
      'use a larger unit of cost, a shorter period, or algorithm: fixed-window',
    )
  }
  if (algorithm === 'sliding-log' && Math.min(count * scale, periodMs) > MAX_SIZES.logEntries) {
    throw policyError(
      'algorithm',
      `a sliding-log of ${count}${scale === 1 ? '' : ', counted in thousandths,'} could need more than ${MAX_SIZES.logEntries} entries a key`,
      'use algorithm: sliding-counter',
    )
  }

  // Fields needed for each message come first and are set directly. Why: a spread moves later fields out of
  // the object.
  const limit: Writable<Limit> = {
    kernel: custom ? kernelOfCustomAlgorithm(custom) : KERNELS[algorithm as AlgorithmName],
    scale,
    stepsPerGrain,
    stepsPerMs,
    capacitySteps: capacity * scale * stepsPerGrain,
    capacityGrains: capacity * scale,
    capacity,
    name,
    algorithm: custom?.name ?? algorithm,
    count,
    periodMs,
    countGrains: count * scale,
    initialGrains: initial * scale,
  }
  if (custom) limit.custom = custom
  if (algorithm === 'quota' && spec.calendar) {
    limit.calendar = new CalendarWindow(spec.calendar)
  }
  return limit
}

type Writable<T> = { -readonly [Name in keyof T]: T[Name] }

function wholeAbove(path: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) {
    throw policyError(
      path,
      `${value} is not a whole number of at least ${least}`,
      'for rates below 1/s write 1 per 5s',
    )
  }
}

/** Multiple of every usual period, so that a grain of this many steps is independent of the rate. */
const DAY_MS = 86_400_000
/** Factor for costs above the capacity, which a leaky bucket lets pass. */
const SPARE = 1024

/**
 * Returns the number of steps in a grain of a bucket: the finest of three numbers that can be counted
 * exactly. First, the common multiple of period and day: a changed rate needs no conversion of live keys.
 * Second, the period: a changed count needs no conversion. Third, the period divided by its common divisor
 * with the count. decide.lua contains the same calculation.
 */
function stepsOf(countGrains: number, periodMs: number, mostGrains: number): number {
  const common = (periodMs / greatestCommonDivisor(DAY_MS, periodMs)) * DAY_MS
  if (mostGrains * common <= EXACT) return common
  if (mostGrains * periodMs <= EXACT) return periodMs
  return periodMs / greatestCommonDivisor(countGrains, periodMs)
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b)
}
