import { PolicyError, type Problem, policyError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import { parseDuration } from '../../core/units.ts'
import { SENDER_PARTS, type SenderPart } from '../senders/sender-selector.ts'
import { parseFactor } from './parse-factor.ts'

/** Blocks for senders that continue after refusals. */
export interface PenaltySpec {
  /** Length of a block, such as `60s`. */
  readonly block: string
  /**
   * Number of refusals that leads to a block, such as `3 refusals in 10s`. Default: one; with `flapping`
   * alone, refusals are not counted.
   */
  readonly after?: string | undefined
  /** Growth of consecutive blocks, such as `x2 up to 1h`. Default: none. */
  readonly grow?: string | undefined
  /** Part of the sender to block by. Default: client; senders without one by user, device, API key or address. */
  readonly per?: SenderPart | undefined
  /**
   * Number of connects that leads to a block, such as `5 connects in 10s` or `100 connects in 10s per ip`.
   * Not for penalties of a rule.
   */
  readonly flapping?: string | readonly string[] | undefined
}

/** Maximum number of connects of a sender. */
export interface FlappingLimit {
  readonly connects: number
  readonly withinMs: number
  readonly per: SenderPart
}

/** A compiled penalty. Times are whole milliseconds. */
export interface CompiledPenalty {
  readonly blockMs: number
  /** Infinity if refusals are not counted. */
  readonly refusals: number
  readonly withinMs: number
  readonly growThousandths: number
  readonly longestMs: number
  readonly per: SenderPart
  readonly flapping: readonly FlappingLimit[]
}

const OPTIONS: KnownOptions<PenaltySpec> = { block: true, after: true, grow: true, per: true, flapping: true }

const FLAPPING = /^(\d{1,9})\s+connects?\s+(?:in|within)\s+(\S+(?:\s+(?!per\b)\S+)?)(?:\s+per\s+(\w+))?$/
const AFTER = /^(\d{1,9})\s+refusals?\s+(?:in|within)\s+(\S+(?:\s+\S+)?)$/
const GROW = /^(x\s?[\d.]+)(?:\s+up\s+to\s+(\S+(?:\s+\S+)?))?$/

/**
 * Compiles a penalty of a gate, or of a rule if `ofRule`. Returns undefined if there is none. Throws
 * PolicyError with all problems.
 */
export function compilePenalty(spec: PenaltySpec | undefined, ofRule = false): CompiledPenalty | undefined {
  if (spec === undefined) return undefined
  checkOptionNames(spec, OPTIONS)
  const problems: Problem[] = []
  const read = <T>(path: string, run: () => T, otherwise: T): T => {
    try {
      return run()
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error
      problems.push(...error.problems.map(problem => ({ ...problem, path })))
      return otherwise
    }
  }
  const blockMs = read('block', () => parseDuration(spec.block), 1)
  const { after, grow, per = 'client' } = spec
  const texts = typeof spec.flapping === 'string' ? [spec.flapping] : (spec.flapping ?? [])
  const flapping = texts.flatMap((text, index) => {
    const path = typeof spec.flapping === 'string' ? 'flapping' : `flapping[${index}]`
    return read(path, () => [readFlapping(text, per, ofRule)], [])
  })
  const never = { refusals: Infinity, withinMs: 1 }
  const counted =
    after === undefined && texts.length > 0
      ? never
      : read('after', () => readAfter(after), { refusals: 1, withinMs: 1 })
  const grown = read('grow', () => readGrow(grow), { thousandths: 1000, longestMs: Infinity })
  const longestMs = grown.thousandths === 1000 ? blockMs : grown.longestMs
  if (grown.thousandths < 1000) {
    problems.push({
      path: 'grow',
      message: `x${grown.thousandths / 1000} makes blocks shorter`,
      remedy: 'write x1 or more',
    })
  } else if (longestMs < blockMs) {
    problems.push({
      path: 'grow',
      message: 'blocks would grow up to less than `block`',
      remedy: 'raise `up to`, or lower `block`',
    })
  }
  if (!SENDER_PARTS.includes(per)) {
    problems.push({
      path: 'per',
      message: `${JSON.stringify(per)} is not a part of a sender`,
      remedy: `use one of ${SENDER_PARTS.join(', ')}`,
    })
  }
  if (problems.length > 0) throw new PolicyError(problems)
  return { blockMs, ...counted, growThousandths: grown.thousandths, longestMs, per, flapping }
}

function readAfter(text: string | undefined): { readonly refusals: number; readonly withinMs: number } {
  if (text === undefined) return { refusals: 1, withinMs: 1 }
  const [, digits, time] = AFTER.exec(String(text).trim()) ?? []
  const refusals = Number(digits)
  if (time === undefined || !(refusals >= 1)) {
    throw policyError(
      '',
      `${JSON.stringify(String(text).slice(0, 60))} is not a count of refusals`,
      'write 3 refusals in 10s',
    )
  }
  if (refusals > MAX_SIZES.refusalsPerOffender) {
    throw policyError(
      '',
      `${refusals} refusals are too many to count`,
      `the most is ${MAX_SIZES.refusalsPerOffender}`,
    )
  }
  return { refusals, withinMs: parseDuration(time) }
}

function readFlapping(text: string, otherwise: SenderPart, ofRule: boolean): FlappingLimit {
  if (ofRule)
    throw policyError(
      '',
      'a rule counts refusals, not connects',
      'write `flapping` in the `penalties` of the policy',
    )
  const [, digits, time, per = otherwise] = FLAPPING.exec(String(text).trim()) ?? []
  const connects = Number(digits)
  const part = SENDER_PARTS.find(known => known === per)
  if (time === undefined || !(connects >= 2) || part === undefined) {
    const shown = JSON.stringify(String(text).slice(0, 60))
    const remedy = 'write 5 connects in 10s, two or more, or 100 connects in 10s per ip'
    throw policyError('', `${shown} is not a count of connects`, remedy)
  }
  if (connects > MAX_SIZES.refusalsPerOffender)
    throw policyError(
      '',
      `${connects} connects are too many to count`,
      `the most is ${MAX_SIZES.refusalsPerOffender}`,
    )
  return { connects, withinMs: parseDuration(time), per: part }
}

function readGrow(text: string | undefined): { readonly thousandths: number; readonly longestMs: number } {
  if (text === undefined) return { thousandths: 1000, longestMs: Infinity }
  const [, factor, longest] = GROW.exec(String(text).trim()) ?? []
  if (factor === undefined || longest === undefined) {
    throw policyError('', `${JSON.stringify(String(text).slice(0, 60))} is not a growth`, 'write x2 up to 1h')
  }
  return { thousandths: parseFactor(factor), longestMs: parseDuration(longest) }
}

/** Returns the length of the n-th consecutive block, from 1. */
export function blockDurationMs(
  { blockMs, growThousandths, longestMs }: CompiledPenalty,
  nth: number,
): number {
  return Math.min(longestMs, Math.floor(blockMs * (growThousandths / 1000) ** (nth - 1)))
}
