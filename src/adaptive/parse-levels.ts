import { policyError } from '../core/errors.ts'
import { quote } from '../core/units.ts'
import type { LoadLevel } from './hysteresis.ts'

/** A factor, alone or up to a load: `0.5`, `1.5 up to 30%`, `x1.5 up to 0.3`. */
type LevelWord = number | string

/** Factors of limits by level of load, in ascending order. All but the last have an upper bound. */
export type LoadLevelFactors = Readonly<Record<string, LevelWord>>

/** Factors by threshold of a signal: `{ '60%': 0.75, '80%': 0.5 }`, `{ 1000: 0.6 }`. */
export type LoadStageFactors = Readonly<Record<string, number | string>>

/** Default levels: limits grow by half at low load and are halved at high load. */
export const DEFAULT_LEVELS: LoadLevelFactors = { low: '1.5 up to 30%', medium: '1 up to 70%', high: 0.5 }

/** Default stages by signal. */
export const DEFAULT_SIGNAL_STAGES: Readonly<Record<string, LoadStageFactors>> = {
  cpu: { '60%': 0.75, '80%': 0.5 },
  memory: { '80%': 0.7 },
  'error-rate': { '10%': 0.5 },
  'queue-depth': { '1000': 0.6 },
}

const SHARES: ReadonlySet<string> = new Set(['cpu', 'memory', 'error-rate'])
const LEVEL_NAME = /^[\w-]{1,40}$/
const MOST_STEPS = 16
const LARGEST_FACTOR = 1000
const FACTOR = /^x?\s?(\d{1,4}(?:\.\d{1,3})?)$/
const AMOUNT = /^(\d{1,12}(?:\.\d{1,6})?)\s?(%?)$/

/** Returns a factor from 0.001 to 1000, in thousandths. Accepts a number, `0.5` or `x0.5`. Throws PolicyError. */
export function parseMultiplier(value: LevelWord, path: string): number {
  const text = String(value).trim()
  const factor = Number(FACTOR.exec(text)?.[1])
  if (factor >= 0.001 && factor <= LARGEST_FACTOR) return factor
  throw policyError(
    path,
    `${JSON.stringify(text.slice(0, 60))} is not a factor`,
    'write a number from 0.001 to 1000 with at most three decimals, as 0.5',
  )
}

/** Returns 0.3 for `30%`; a number as it is. Throws PolicyError. */
export function parseThreshold(value: LevelWord, path: string): number {
  const text = String(value).trim()
  const [, digits, percent] = AMOUNT.exec(text) ?? []
  const amount = Number(digits) / (percent === '%' ? 100 : 1)
  if (amount > 0) return amount
  const remedy = 'write a percentage above 0, as 60%, or a number, as 1000'
  throw policyError(path, `${JSON.stringify(text.slice(0, 60))} is not a threshold`, remedy)
}

/** Returns the lowest level and those above it. Throws PolicyError. */
export function parseLoadLevels(options: LoadLevelFactors): {
  readonly lowest: Omit<LoadLevel, 'above'>
  readonly higher: readonly LoadLevel[]
} {
  const entries = Object.entries(options)
  checkCount(entries.length, 'levels')
  const levels = entries.map(([name, value], index) => {
    if (!LEVEL_NAME.test(name)) {
      const shown = JSON.stringify(name.slice(0, 60))
      throw policyError(
        'levels',
        `${shown} cannot be the name of a level`,
        'use up to 40 letters, digits, _ and -',
      )
    }
    const path = `levels.${name}`
    const [factor = '', upTo, ...rest] = String(value).split(/\s+up\s+to\s+/)
    if (rest.length > 0)
      throw policyError(path, `${JSON.stringify(value)} has two bounds`, 'write 1.5 up to 30%')
    const isLast = index === entries.length - 1
    if (isLast !== (upTo === undefined)) {
      const flaw = isLast ? 'the last level has a bound' : 'the level has no bound'
      throw policyError(
        path,
        flaw,
        isLast ? 'leave out "up to": it holds for all above' : 'write 1.5 up to 30%',
      )
    }
    const bound = upTo === undefined ? Infinity : parseThreshold(upTo, path)
    if (bound > 1 && !isLast) throw policyError(path, `a load is never above 100%`, 'write 1.5 up to 30%')
    return { name, factor: parseMultiplier(factor, path), bound, path }
  })
  levels.forEach(({ bound, path }, index) => {
    if (index > 0 && bound <= levels[index - 1]!.bound) {
      throw policyError(
        path,
        'its bound is not above that of the level before',
        'order levels by load, lowest first',
      )
    }
  })
  const [lowest, ...others] = levels
  return {
    lowest: { name: lowest!.name, factor: lowest!.factor },
    higher: others.map(({ name, factor }, index) => ({ name, factor, above: levels[index]!.bound })),
  }
}

/** Returns the stages of one signal, lowest first. Throws PolicyError. */
export function parseStages(signal: string, options: LoadStageFactors): readonly LoadLevel[] {
  const entries = Object.entries(options)
  const path = `stages.${signal}`
  checkCount(entries.length, path)
  return entries
    .map(([above, factor]) => ({
      above: SHARES.has(signal) ? parseShare(above, path) : parseThreshold(above, path),
      factor: parseMultiplier(factor, path),
      name: `above ${above}`,
    }))
    .sort((a, b) => a.above - b.above)
}

/** Parses the threshold of a signal with values up to 1. Why: a forgotten percent sign would disable the stage. */
function parseShare(above: string, path: string): number {
  const share = parseThreshold(above, path)
  if (share < 1) return share
  throw policyError(path, `${quote(above)} is never exceeded`, 'write a percentage below 100, as 60%')
}

function checkCount(count: number, path: string): void {
  if (count >= 1 && count <= MOST_STEPS) return
  throw policyError(path, `there are ${count} of them`, `give 1 to ${MOST_STEPS}`)
}
