import type { Message } from '../core/message.ts'

/** Values for comparison. */
export type Scalar = string | number | boolean | null

/**
 * Test of one value; has exactly one of the properties. Payload values are compared with their type (`5` is
 * not `"5"`), headers as text. In `range`, a header with a decimal number is compared as a number.
 */
export interface ValueTest {
  readonly equals?: Scalar | undefined
  readonly in?: readonly Scalar[] | undefined
  /** Inclusive bounds; `null` leaves a side open. */
  readonly range?: readonly [number | null, number | null] | undefined
  /** True: the value is present, even if it is null. False: it is absent. */
  readonly exists?: boolean | undefined
}

/** A `when` condition. All properties of one object must match. The same in policy files and in code. */
export interface ConditionSpec {
  readonly description?: string | undefined
  /** `22:00-06:00`, start inclusive, end exclusive. Overnight if the end is not later than the start. */
  readonly time?: string | undefined
  /** `mon-fri`, `sat,sun`, `fri-mon`, or a list. For an overnight range, the day on which it began. */
  readonly days?: string | readonly string[] | undefined
  /** IANA time zone of `time` and `days` in the same object. Default: UTC. */
  readonly zone?: string | undefined
  /**
   * A field of the parsed payload by path: `priority`, `alarm.level`, `readings[0].value`, `["a.b"]`. Without
   * `field`, the whole payload: a text is compared with its bytes, so that plain text works as well.
   */
  readonly payload?: (ValueTest & { readonly field?: string | undefined }) | undefined
  /**
   * A header or user property. If it has several values, one is enough. `secret` is compared in constant time
   * and never printed, as are `equals` and `in` if the name suggests a secret (`authorization`, `x-api-key`).
   * The exact name applies; on NATS, any case if it is missing.
   */
  readonly header?: (ValueTest & { readonly name: string; readonly secret?: string | undefined }) | undefined
  /** Payload bytes, inclusive; numbers or `10kB` (k = 1000, Ki = 1024). */
  readonly size?:
    | { readonly min?: number | string | undefined; readonly max?: number | string | undefined }
    | undefined
  /** A message without QoS, as on NATS, does not match. */
  readonly qos?: 0 | 1 | 2 | readonly (0 | 1 | 2)[] | undefined
  /** A message without this property is not retained. */
  readonly retain?: boolean | undefined
  /** True for wills. Only aedes marks them. */
  readonly will?: boolean | undefined
  readonly protocol?: 'mqtt' | 'nats' | undefined
  readonly all?: readonly ConditionSpec[] | undefined
  readonly any?: readonly ConditionSpec[] | undefined
  readonly not?: ConditionSpec | undefined
}

/** A compiled condition. Never throws. */
export type Condition = (message: Message, nowMs: number) => boolean

/** Returns true if the condition of a rule or exemption matches a message, or if it has none. */
export function holdsFor(
  { when }: { readonly when?: Condition | undefined },
  message: Message,
  nowMs: number,
): boolean {
  return when === undefined || when(message, nowMs)
}
