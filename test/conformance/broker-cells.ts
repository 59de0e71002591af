import type { ExceededSpec, OutcomeFunction } from '../../src/outcomes/exceeded.ts'

/** Number of messages in a cell, and how many of them its limit allows at once. */
export const SENT = 40
export const ROOM = 10

/** Result of the numbered messages of one cell, each list in order of arrival. */
export interface Seen {
  /** Received on the original topic, whole and degraded. */
  readonly whole: readonly number[]
  readonly degraded: readonly number[]
  /** Received on the redirect topic. */
  readonly elsewhere: readonly number[]
}

/** Test of one outcome: a rule, and the expected messages of {@link SENT} at the receiver. */
export interface Cell {
  readonly outcome: string
  readonly rate: string
  readonly exceeded: ExceededSpec
  readonly expected: Seen
  /** Resent messages arrive in any order. */
  readonly anyOrder?: boolean | undefined
  /** Messages the sender may be informed about as not taken. */
  readonly refused: number
}

const NONE: readonly number[] = []
const ALL = Array.from({ length: SENT }, (_, index) => index)
const FIRST = ALL.slice(0, ROOM)
const REST = ALL.slice(ROOM)

const FAST = `100/s burst ${ROOM}`
/** Gives no unit back while a test runs. */
export const SLOW = `1/hour burst ${ROOM}`

const oddGo: OutcomeFunction = message => (numberOf(message.payload?.()) % 2 === 1 ? 'drop' : 'deliver')

/** Every outcome of a rule. */
export const CELLS: readonly Cell[] = [
  { outcome: 'throttle', rate: FAST, exceeded: 'throttle', expected: whole(ALL), refused: 0 },
  { outcome: 'queue', rate: FAST, exceeded: 'queue', expected: whole(ALL), refused: 0 },
  {
    outcome: 'latest',
    rate: '1/s burst 1',
    exceeded: 'latest',
    expected: whole([0, SENT - 1]),
    refused: SENT - 2,
  },
  {
    outcome: 'degrade',
    rate: SLOW,
    exceeded: { degrade: { strip: ['raw'] } },
    expected: { whole: FIRST, degraded: REST, elsewhere: NONE },
    refused: 0,
  },
  {
    outcome: 'redirect',
    rate: SLOW,
    exceeded: 'redirect',
    expected: { whole: FIRST, degraded: NONE, elsewhere: REST },
    refused: 0,
  },
  {
    outcome: 'retry',
    rate: FAST,
    exceeded: 'retry',
    expected: whole(ALL),
    anyOrder: true,
    refused: SENT - ROOM,
  },
  { outcome: 'drop', rate: SLOW, exceeded: 'drop', expected: whole(FIRST), refused: SENT - ROOM },
  { outcome: 'reject', rate: SLOW, exceeded: 'reject', expected: whole(FIRST), refused: SENT - ROOM },
  { outcome: 'disconnect', rate: SLOW, exceeded: 'disconnect', expected: whole(FIRST), refused: SENT - ROOM },
  {
    outcome: 'a function',
    rate: SLOW,
    exceeded: oddGo,
    expected: whole([...FIRST, ...REST.filter(number => number % 2 === 0)]),
    refused: (SENT - ROOM) / 2,
  },
]

function whole(numbers: readonly number[]): Seen {
  return { whole: numbers, degraded: NONE, elsewhere: NONE }
}

function numberOf(payload: unknown): number {
  return (payload as { readonly n: number }).n
}

/** Payload of a numbered message. */
export function payloadOf(number: number): string {
  return JSON.stringify({ n: number, raw: 'x' })
}
