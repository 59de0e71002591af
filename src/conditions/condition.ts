import type { Message } from '../message.ts'

/** Matches one value: exactly one of the words is given. Numbers in payloads and headers compare as numbers in `range`. */
export interface ValueTest {
  readonly equals?: string | number | boolean | null
  readonly in?: readonly (string | number | boolean | null)[]
  /** Inclusive bounds; `null` leaves a side open. */
  readonly range?: readonly [number | null, number | null]
  readonly exists?: boolean
}

/**
 * What an operator writes under `when`. All words of one object must hold.
 * The same words in the policy file and in code.
 */
export interface ConditionSpec {
  readonly description?: string
  /** `22:00-06:00`, from inclusive, to exclusive; overnight where the end is not later than the start. */
  readonly time?: string
  /** `mon-fri`, `sat,sun`, `fri-mon`; of an overnight range the day on which it began. */
  readonly days?: string
  /** IANA name; default UTC. Holds for `time` and `days` of the same object. */
  readonly zone?: string
  /** A field of the parsed payload by path: `priority`, `alarm.level`, `readings[0].value`. */
  readonly payload?: ValueTest & { readonly field: string }
  /** A header or user property. `secret` is compared in constant time and never printed. */
  readonly header?: ValueTest & { readonly name: string; readonly secret?: string }
  /** Payload bytes, inclusive; numbers or `10kB` (k = 1000, Ki = 1024). */
  readonly size?: { readonly min?: number | string; readonly max?: number | string }
  readonly qos?: 0 | 1 | 2 | readonly (0 | 1 | 2)[]
  readonly retain?: boolean
  readonly protocol?: 'mqtt' | 'nats'
  readonly all?: readonly ConditionSpec[]
  readonly any?: readonly ConditionSpec[]
  readonly not?: ConditionSpec
}

/** A compiled condition. Never throws, whatever the message holds. */
export type Condition = (message: Message, nowMs: number) => boolean
