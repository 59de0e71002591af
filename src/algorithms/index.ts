export { toAlgorithm } from './algorithm-from-kernel.ts'
export { type CalendarSpec, type CalendarUnit, CalendarWindow } from './calendar.ts'
export { createLimit, KERNELS, type LimitSpec } from './create-limit.ts'
export { defineAlgorithm } from './custom.ts'
export type {
  Algorithm,
  CustomAlgorithm,
  CustomState,
  LimitNumbers,
  StepResult,
} from './custom-algorithm-types.ts'
export {
  ALGORITHM_NAMES,
  type AlgorithmName,
  algorithmOf,
  type Kernel,
  type Limit,
  toGrains,
  type Verdict,
} from './limit-types.ts'
