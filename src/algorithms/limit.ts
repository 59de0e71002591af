import type { CalendarWindow } from './calendar.ts'
import type { Kernel } from './kernel.ts'

export const ALGORITHMS = [
  'token-bucket',
  'leaky-bucket',
  'fixed-window',
  'sliding-log',
  'sliding-counter',
  'quota',
] as const

export type AlgorithmName = (typeof ALGORITHMS)[number]

/** A rule's numbers, checked and ready for the kernels. Made by `createLimit`, never by hand. */
export interface Limit {
  /** The rule's name: its state lives under it. */
  readonly name: string
  readonly kernel: Kernel
  /** Units per period. */
  readonly count: number
  readonly periodMs: number
  /** The most the rule can hold: burst of a token bucket, else the count. */
  readonly capacity: number
  /** Units a token bucket starts with. */
  readonly initial: number
  /** Costs are whole multiples of 1 / scale: 1, or 1000 where a cost may be a fraction. */
  readonly scale: 1 | 1000
  /** One unit in the whole-number steps a token bucket counts in, and the steps it regains each millisecond. */
  readonly unitSteps: number
  readonly refillSteps: number
  /** Only of a calendar quota. */
  readonly calendar?: CalendarWindow
}
