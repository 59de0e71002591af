import { checkWithPathPrefix, policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { CustomAlgorithm } from './custom-algorithm-types.ts'
import { ALGORITHM_NAMES } from './limit-types.ts'

const NAME = /^[a-z][a-z0-9-]{0,63}$/
const DEFAULT_STATE_SIZE = 256

/** Validates an algorithm and returns it. Throws PolicyError. */
export function defineAlgorithm<Mine extends CustomAlgorithm>(algorithm: Mine): Mine {
  checkCustomAlgorithm(algorithm)
  return algorithm
}

/** Returns algorithms by name. Throws PolicyError if one is invalid or two have the same name. */
export function indexAlgorithms(
  algorithms: readonly CustomAlgorithm[],
): ReadonlyMap<string, CustomAlgorithm> {
  const named = new Map<string, CustomAlgorithm>()
  for (const [index, algorithm] of algorithms.entries()) {
    checkWithPathPrefix(`algorithms[${index}]`, () => checkCustomAlgorithm(algorithm))
    if (named.has(algorithm.name)) {
      const remedy = 'give each a name of its own'
      throw policyError(`algorithms[${index}]`, `two algorithms are named "${algorithm.name}"`, remedy)
    }
    named.set(algorithm.name, algorithm)
  }
  return named
}

/** Returns the maximum numbers in a state of an algorithm. */
export function stateSizeOf(algorithm: CustomAlgorithm): number {
  return algorithm.stateSize ?? DEFAULT_STATE_SIZE
}

/** Throws PolicyError if an object is not a valid algorithm. */
export function checkCustomAlgorithm(algorithm: CustomAlgorithm): void {
  const { name, step, refund, stateSize = 1 } = algorithm
  const shown = JSON.stringify(String(name).slice(0, 60))
  if (typeof name !== 'string' || !NAME.test(name)) {
    const remedy = 'use small letters, digits and dashes, as two-speeds'
    throw policyError('algorithm', `${shown} cannot be the name of an algorithm`, remedy)
  }
  if (ALGORITHM_NAMES.some(known => known === name)) {
    throw policyError('algorithm', `there is an algorithm ${shown} already`, 'give it a name of its own')
  }
  if (typeof step !== 'function') {
    const remedy = 'give step(state, nowMs, cost, limit)'
    throw policyError('algorithm', `the algorithm ${shown} has no step`, remedy)
  }
  if (refund !== undefined && typeof refund !== 'function') {
    const remedy = 'give refund(state, nowMs, cost, limit), or leave it out'
    throw policyError('algorithm', `refund of the algorithm ${shown} is not a function`, remedy)
  }
  for (const word of ['lua', 'luaRefund'] as const) {
    const text = algorithm[word]
    if (text === undefined || (typeof text === 'string' && text.trim() !== '')) continue
    const remedy = 'give the body of function(state, now, cost, limit), or leave it out'
    throw policyError('algorithm', `${word} of the algorithm ${shown} is not a text`, remedy)
  }
  if (!Number.isSafeInteger(stateSize) || stateSize < 1 || stateSize > MAX_SIZES.stateNumbers) {
    const remedy = `write a whole number from 1 to ${MAX_SIZES.stateNumbers}`
    throw policyError('algorithm', `stateSize of the algorithm ${shown} is ${String(stateSize)}`, remedy)
  }
}
