import type { ExceededSpec, OutcomeFunction } from '../../../src/outcomes/exceeded.ts'

/** Number of messages in a case, and how many of them its limit allows at once. */
export const MESSAGE_COUNT = 40
export const BURST = 10

/** Numbers of the messages that the receiver got, each list in order of arrival. */
export interface Received {
  /** Messages on the original topic, unchanged and degraded. */
  readonly whole: readonly number[]
  readonly degraded: readonly number[]
  /** Messages on the redirect topic. */
  readonly redirected: readonly number[]
}

/** Test of one outcome: a rule, and those of {@link MESSAGE_COUNT} messages that the receiver must get. */
export interface OutcomeCase {
  readonly outcome: string
  readonly rate: string
  readonly exceeded: ExceededSpec
  readonly expected: Received
  /** True if messages may arrive in any order, because they are sent again. */
  readonly anyOrder?: boolean | undefined
  /** Number of messages for which the sender may get a refusal. */
  readonly refused: number
}

const NONE: readonly number[] = []
const ALL = Array.from({ length: MESSAGE_COUNT }, (_, index) => index)
const FIRST = ALL.slice(0, BURST)
const REST = ALL.slice(BURST)

const FAST_RATE = `100/s burst ${BURST}`
/** Rate that refills no unit while a test runs. */
export const NO_REFILL_RATE = `1/hour burst ${BURST}`

const dropOdd: OutcomeFunction = message => (numberOf(message.payload?.()) % 2 === 1 ? 'drop' : 'deliver')

/** One case for every outcome of a rule. */
export const OUTCOME_CASES: readonly OutcomeCase[] = [
  { outcome: 'throttle', rate: FAST_RATE, exceeded: 'throttle', expected: whole(ALL), refused: 0 },
  { outcome: 'queue', rate: FAST_RATE, exceeded: 'queue', expected: whole(ALL), refused: 0 },
  {
    outcome: 'latest',
    rate: '1/s burst 1',
    exceeded: 'latest',
    expected: whole([0, MESSAGE_COUNT - 1]),
    refused: MESSAGE_COUNT - 2,
  },
  {
    outcome: 'degrade',
    rate: NO_REFILL_RATE,
    exceeded: { degrade: { strip: ['raw'] } },
    expected: { whole: FIRST, degraded: REST, redirected: NONE },
    refused: 0,
  },
  {
    outcome: 'redirect',
    rate: NO_REFILL_RATE,
    exceeded: 'redirect',
    expected: { whole: FIRST, degraded: NONE, redirected: REST },
    refused: 0,
  },
  {
    outcome: 'retry',
    rate: FAST_RATE,
    exceeded: 'retry',
    expected: whole(ALL),
    anyOrder: true,
    refused: MESSAGE_COUNT - BURST,
  },
  {
    outcome: 'drop',
    rate: NO_REFILL_RATE,
    exceeded: 'drop',
    expected: whole(FIRST),
    refused: MESSAGE_COUNT - BURST,
  },
  {
    outcome: 'reject',
    rate: NO_REFILL_RATE,
    exceeded: 'reject',
    expected: whole(FIRST),
    refused: MESSAGE_COUNT - BURST,
  },
  {
    outcome: 'disconnect',
    rate: NO_REFILL_RATE,
    exceeded: 'disconnect',
    expected: whole(FIRST),
    refused: MESSAGE_COUNT - BURST,
  },
  {
    outcome: 'a function',
    rate: NO_REFILL_RATE,
    exceeded: dropOdd,
    expected: whole([...FIRST, ...REST.filter(number => number % 2 === 0)]),
    refused: (MESSAGE_COUNT - BURST) / 2,
  },
]

function whole(numbers: readonly number[]): Received {
  return { whole: numbers, degraded: NONE, redirected: NONE }
}

function numberOf(payload: unknown): number {
  return (payload as { readonly n: number }).n
}

/** Returns the payload of a numbered message. */
export function payloadOf(number: number): string {
  return JSON.stringify({ n: number, raw: 'x' })
}
