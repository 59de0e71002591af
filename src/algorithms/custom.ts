import { checkWithin, policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Algorithm } from './algorithm.ts'
import { ALGORITHMS, type Limit } from './limit.ts'

/** What a custom algorithm is told of its rule: units per period, and the most it may hold (its burst). */
export type LimitNumbers = Pick<Limit, 'count' | 'periodMs' | 'capacity'>

/** The state of a custom algorithm: plain finite numbers. An empty one is not kept: the next step is given none. */
export type CustomState = readonly number[]

/**
 * An algorithm of one's own: a pure step over a short list of numbers. `cost` comes in units (thousandths where a
 * rule's costs may be fractions). Stores keep the state of an allowed step and forget it after `expireInMs`; that of a
 * denied step is thrown away. `nowMs` may lie before an earlier one: the step itself sees to it that a stumble gives
 * nothing back. `algorithmConformance` of topicgate/testing holds it to all this.
 */
export interface CustomAlgorithm extends Algorithm<LimitNumbers, CustomState> {
  /** Small letters, digits and dashes; its name in policies. */
  readonly name: string
  /**
   * The step's twin for Redis: the body of a Lua 5.1 `function(state, now, cost, limit)`. `state` is a table or nil,
   * `limit` has count, periodMs and capacity. Returns a table with state, allowed, remaining, retryAfterMs (-1: never),
   * resetMs and expireInMs. Without it, a rule of this algorithm is refused on Redis.
   */
  readonly lua?: string | undefined
  /**
   * The state after `cost` units are given back; no longer than the one given. Without it nothing is given back: what
   * a message took that is refused later stays taken.
   */
  refund?(state: CustomState, nowMs: number, cost: number, limit: LimitNumbers): CustomState
  /**
   * The refund's twin: the body of a Lua `function(state, now, cost, limit)` that returns the state. An algorithm with a
   * refund and no such twin is refused on Redis.
   */
  readonly luaRefund?: string | undefined
  /** Most numbers a state may hold; the memory store keeps the fewer keys the larger it is. Default: 256. */
  readonly stateSize?: number | undefined
}

const NAME = /^[a-z][a-z0-9-]{0,63}$/
const DEFAULT_STATE_SIZE = 256

/** Checks an algorithm once, where it is written, and gives it back. Throws PolicyError. */
export function defineAlgorithm<Mine extends CustomAlgorithm>(algorithm: Mine): Mine {
  checkAlgorithm(algorithm)
  return algorithm
}

/** Algorithms by their names. Throws PolicyError where one cannot be used, or two have one name. */
export function byName(algorithms: readonly CustomAlgorithm[]): ReadonlyMap<string, CustomAlgorithm> {
  const named = new Map<string, CustomAlgorithm>()
  for (const [index, algorithm] of algorithms.entries()) {
    checkWithin(`algorithms[${index}]`, () => checkAlgorithm(algorithm))
    if (named.has(algorithm.name)) {
      const remedy = 'give each a name of its own'
      throw policyError(`algorithms[${index}]`, `there are two algorithms "${algorithm.name}"`, remedy)
    }
    named.set(algorithm.name, algorithm)
  }
  return named
}

/** Most numbers a state of the algorithm may hold. */
export function stateSizeOf(algorithm: CustomAlgorithm): number {
  return algorithm.stateSize ?? DEFAULT_STATE_SIZE
}

/** Throws PolicyError where an object cannot be an algorithm. */
export function checkAlgorithm(algorithm: CustomAlgorithm): void {
  const { name, step, refund, stateSize = 1 } = algorithm
  const shown = JSON.stringify(String(name).slice(0, 60))
  if (typeof name !== 'string' || !NAME.test(name)) {
    const remedy = 'use small letters, digits and dashes, as two-speeds'
    throw policyError('algorithm', `${shown} cannot be the name of an algorithm`, remedy)
  }
  if (ALGORITHMS.some(known => known === name)) {
    throw policyError('algorithm', `there is an algorithm ${shown} already`, 'give it a name of its own')
  }
  if (typeof step !== 'function') {
    const remedy = 'give step(state, nowMs, cost, limit)'
    throw policyError('algorithm', `the algorithm ${shown} has no step`, remedy)
  }
  if (refund !== undefined && typeof refund !== 'function') {
    const remedy = 'give refund(state, nowMs, cost, limit), or leave it out'
    throw policyError('algorithm', `refund of the algorithm ${shown} is no function`, remedy)
  }
  for (const word of ['lua', 'luaRefund'] as const) {
    const text = algorithm[word]
    if (text === undefined || (typeof text === 'string' && text.trim() !== '')) continue
    const remedy = 'give the body of function(state, now, cost, limit), or leave it out'
    throw policyError('algorithm', `${word} of the algorithm ${shown} is no text`, remedy)
  }
  if (!Number.isSafeInteger(stateSize) || stateSize < 1 || stateSize > MAX_SIZES.stateNumbers) {
    const remedy = `write a whole number from 1 to ${MAX_SIZES.stateNumbers}`
    throw policyError('algorithm', `stateSize of the algorithm ${shown} is ${String(stateSize)}`, remedy)
  }
}
