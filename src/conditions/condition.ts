import type { Message } from '../core/message.ts'

/** What a value can be compared with. */
export type Scalar = string | number | boolean | null

/**
 * Matches one value: exactly one of the words is given. Payload values compare with their type (`5` is not `"5"`),
 * headers as text; in `range` a header that is a decimal number compares as that number.
 */
export interface ValueTest {
  readonly equals?: Scalar | undefined
  readonly in?: readonly Scalar[] | undefined
  /** Inclusive bounds; `null` leaves a side open. */
  readonly range?: readonly [number | null, number | null] | undefined
  /** True: the value is there, be it null. False: it is not. */
  readonly exists?: boolean | undefined
}

/**
 * What an operator writes under `when`. All words of one object must hold.
 * The same words in the policy file and in code.
 */
export interface ConditionSpec {
  readonly description?: string | undefined
  /** `22:00-06:00`, from inclusive, to exclusive; overnight where the end is not later than the start. */
  readonly time?: string | undefined
  /** `mon-fri`, `sat,sun`, `fri-mon`, or a list; of an overnight range the day on which it began. */
  readonly days?: string | readonly string[] | undefined
  /** IANA name; default UTC. Holds for `time` and `days` of the same object. */
  readonly zone?: string | undefined
  /**
   * A field of the parsed payload by path: `priority`, `alarm.level`, `readings[0].value`, `["a.b"]`. Without `field` the
   * whole payload: a text is compared with its bytes, so plain text does as well.
   */
  readonly payload?: (ValueTest & { readonly field?: string | undefined }) | undefined
  /**
   * A header or user property; of several values one is enough. `equals`, `in` and `secret` are compared in
   * constant time; `secret` is never printed. The exact name counts; on NATS, where it is missing, any case.
   */
  readonly header?: (ValueTest & { readonly name: string; readonly secret?: string | undefined }) | undefined
  /** Payload bytes, inclusive; numbers or `10kB` (k = 1000, Ki = 1024). */
  readonly size?:
    | { readonly min?: number | string | undefined; readonly max?: number | string | undefined }
    | undefined
  /** A message that has no QoS, as on NATS, matches none. */
  readonly qos?: 0 | 1 | 2 | readonly (0 | 1 | 2)[] | undefined
  /** A message that says nothing of it is not retained. */
  readonly retain?: boolean | undefined
  /** True for wills, which only aedes tells from other messages. */
  readonly will?: boolean | undefined
  readonly protocol?: 'mqtt' | 'nats' | undefined
  readonly all?: readonly ConditionSpec[] | undefined
  readonly any?: readonly ConditionSpec[] | undefined
  readonly not?: ConditionSpec | undefined
}

/** A compiled condition. Never throws, whatever the message holds. */
export type Condition = (message: Message, nowMs: number) => boolean

/** Reports whether a rule or an exemption is meant for a message: whether its condition holds, if it has one. */
export function holdsFor(
  { when }: { readonly when?: Condition | undefined },
  message: Message,
  nowMs: number,
): boolean {
  return when === undefined || when(message, nowMs)
}
