import { StoreError } from '../core/errors.ts'
import { stateSizeOf } from './custom.ts'
import type { CustomAlgorithm, CustomState, StepResult } from './custom-algorithm-types.ts'
import type { Kernel, Limit } from './limit-types.ts'

/* Cells: last charge, time at which the key is full again, size of the state, then the state itself. */
const LAST = 0
const FULL_AT = 1
const SIZE = 2
const STATE = 3
/** Initial capacity of an array, in numbers of state. */
const INITIAL_STATE_CAPACITY = 4
/** Replaces the size: the state is that of one charge, whose units are stored in place of the state. */
const SET_FROM_UNITS = -1

const kernels = new WeakMap<CustomAlgorithm, Kernel>()

/**
 * Returns the kernel of a custom algorithm; the same object for the same algorithm. Its methods throw
 * StoreError with the algorithm's name if a step throws or returns an invalid result.
 */
export function kernelOfCustomAlgorithm(algorithm: CustomAlgorithm): Kernel {
  const made = kernels.get(algorithm) ?? createKernel(algorithm)
  kernels.set(algorithm, made)
  return made
}

function createKernel(algorithm: CustomAlgorithm): Kernel {
  const stateSize = stateSizeOf(algorithm)
  /**
   * Size of a probed state that does not fit into the key's array yet. `growCells` enlarges the array before the
   * charge is taken.
   */
  const wanted = new WeakMap<Float64Array, number>()
  /** Last probed state. Why: it is nearly always the one taken next, so that the step need not run twice. */
  let probed:
    | { cells: Float64Array; nowMs: number; grains: number; limit: Limit; step: StepResult<CustomState> }
    | undefined

  const stateOf = (cells: Float64Array, limit: Limit): CustomState | undefined => {
    const size = cells[SIZE]!
    if (size === SET_FROM_UNITS)
      return checkedStep(algorithm, undefined, cells[LAST]!, cells[STATE]!, limit).state
    return size === 0 ? undefined : read(cells, size)
  }
  const ask = (cells: Float64Array, nowMs: number, grains: number, limit: Limit): StepResult<CustomState> =>
    checkedStep(algorithm, stateOf(cells, limit), nowMs, grains / limit.scale, limit)

  return {
    name: algorithm.name,
    width: 0,
    entries: () => Math.ceil(stateSize / 2),

    growCells(cells) {
      if (cells === undefined) return new Float64Array(STATE + INITIAL_STATE_CAPACITY)
      const needed = STATE + (wanted.get(cells) ?? 0)
      if (needed <= cells.length) return cells
      const larger = new Float64Array(Math.min(STATE + stateSize, Math.max(needed, 2 * cells.length)))
      larger.set(cells)
      return larger
    },

    probe(cells, _at, nowMs, grains, limit, out) {
      const step = ask(cells, nowMs, grains, limit)
      probed = { cells, nowMs, grains, limit, step }
      out.allowed = step.allowed
      out.remaining = step.remaining
      out.retryAfterMs = step.retryAfterMs
      out.resetMs = step.resetMs
      if (step.allowed && STATE + step.state.length > cells.length) wanted.set(cells, step.state.length)
      return step.allowed
    },

    charge(cells, _at, nowMs, grains, limit) {
      const isProbed =
        probed?.cells === cells &&
        probed.nowMs === nowMs &&
        probed.grains === grains &&
        probed.limit === limit
      const { allowed, state, expireInMs } = isProbed ? probed!.step : ask(cells, nowMs, grains, limit)
      probed = undefined
      // Only an impure step denies what it has just allowed, or returns another state than before.
      if (!allowed || STATE + state.length > cells.length)
        throw flawed(algorithm, 'answers the same differently')
      cells[LAST] = Math.max(nowMs, cells[LAST]!)
      cells[FULL_AT] = nowMs + expireInMs
      write(cells, state)
    },

    refund(cells, _at, nowMs, grains, limit) {
      probed = undefined
      const before = stateOf(cells, limit)
      if (algorithm.refund === undefined || before === undefined) return
      // A seeded state has no array of its own. If it does not fit into the first array, it is left as it is.
      if (STATE + before.length > cells.length) return
      let state: CustomState
      try {
        state = algorithm.refund([...before], nowMs, grains / limit.scale, limit)
      } catch (cause) {
        throw flawed(algorithm, 'threw in its refund', cause)
      }
      const flaw = flawOfState(state, before.length)
      if (flaw !== undefined) throw flawed(algorithm, `${flaw} from its refund`)
      write(cells, state)
    },

    // The meaning of a custom state is unknown, so it is kept as it is.
    migrate() {},

    usedGrains(cells, _at, nowMs, limit) {
      if (cells[SIZE] === 0) return 0
      return Math.max(0, limit.capacityGrains - ask(cells, nowMs, 0, limit).remaining * limit.scale)
    },

    setUsed(cells, _at, nowMs, grains, limit) {
      probed = undefined
      const units = Math.min(grains, limit.capacityGrains) / limit.scale
      const step = checkedStep(algorithm, undefined, nowMs, units, limit)
      // An amount that a new key would refuse (if only one unit at a time passes) cannot be migrated.
      if (units === 0 || !step.allowed) return
      cells[LAST] = nowMs
      cells[FULL_AT] = nowMs + step.expireInMs
      cells[SIZE] = SET_FROM_UNITS
      cells[STATE] = units
    },

    fullAtMs: cells => cells[FULL_AT]!,
  }
}

function write(cells: Float64Array, state: CustomState): void {
  cells[SIZE] = state.length
  for (let index = 0; index < state.length; index++) cells[STATE + index] = state[index]!
}

/**
 * Returns a copy of a state for each step, so that changes by the step have no effect. Faster than Array.from
 * on a part.
 */
function read(cells: Float64Array, size: number): number[] {
  const state: number[] = []
  for (let index = 0; index < size; index++) state.push(cells[STATE + index]!)
  return state
}

/** Runs a step and validates its result. Throws StoreError. */
export function checkedStep(
  algorithm: CustomAlgorithm,
  state: CustomState | undefined,
  nowMs: number,
  cost: number,
  limit: Limit,
): StepResult<CustomState> {
  let step: StepResult<CustomState>
  let flaw: string | undefined
  try {
    step = algorithm.step(state, nowMs, cost, limit)
    flaw = flawOf(step, stateSizeOf(algorithm))
  } catch (cause) {
    throw flawed(algorithm, 'threw in its step', cause)
  }
  if (flaw !== undefined) throw flawed(algorithm, flaw)
  return step
}

function flawed(algorithm: CustomAlgorithm, flaw: string, cause?: unknown): StoreError {
  const text = `the algorithm "${algorithm.name}" ${flaw}: see docs/custom-algorithms.md for what a step returns`
  return new StoreError(text, cause === undefined ? undefined : { cause })
}

function flawOf(step: StepResult<CustomState>, stateSize: number): string | undefined {
  if (typeof step !== 'object' || step === null) return 'returned no object'
  const { state, allowed, retryAfterMs } = step
  if (typeof allowed !== 'boolean') return 'returned an `allowed` that is not true or false'
  if (!isWhole(step.remaining)) return notWhole('remaining', step.remaining)
  if (!isWhole(step.resetMs)) return notWhole('resetMs', step.resetMs)
  if (!isWhole(step.expireInMs)) return notWhole('expireInMs', step.expireInMs)
  const waits = allowed
    ? retryAfterMs === 0
    : retryAfterMs === Infinity || (isWhole(retryAfterMs) && retryAfterMs > 0)
  if (!waits) return `returned ${String(retryAfterMs)} as retryAfterMs and ${String(allowed)} as allowed`
  return allowed ? flawOfState(state, stateSize) : undefined
}

function notWhole(name: string, value: unknown): string {
  return `returned ${String(value)} as ${name}, which is no whole number`
}

function isWhole(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

function flawOfState(state: CustomState, maxNumbers: number): string | undefined {
  if (!Array.isArray(state)) return 'returned a state that is no list'
  if (state.length > maxNumbers)
    return `returned a state of ${state.length} numbers where it may hold ${maxNumbers}`
  for (const number of state) {
    if (!Number.isFinite(number)) return 'returned a state that does not hold finite numbers alone'
  }
  return undefined
}
