import type { CustomOutcome, Exceeded } from '../../src/outcomes/exceeded.ts'

/** Messages of one cell, and how many of them its limit lets pass at once. */
export const SENT = 40
export const ROOM = 10

/** What came of the numbered messages of one cell, each in the order it came. */
export interface Seen {
  /** On the topic they were sent to, whole and in a cheaper form. */
  readonly whole: readonly number[]
  readonly degraded: readonly number[]
  /** On the topic a redirect goes to. */
  readonly elsewhere: readonly number[]
}

/** One outcome as it is put to the test: a rule, and what the receiver is to get of {@link SENT} messages. */
export interface Cell {
  readonly outcome: string
  readonly rate: string
  readonly exceeded: Exceeded
  readonly expected: Seen
  /** What is sent back comes again in any order. */
  readonly anyOrder?: boolean | undefined
  /** Of these the sender may learn that they were not taken. */
  readonly refused: number
}

const NONE: readonly number[] = []
const ALL = Array.from({ length: SENT }, (_, index) => index)
const FIRST = ALL.slice(0, ROOM)
const REST = ALL.slice(ROOM)

const FAST = `100/s burst ${ROOM}`
const SLOW = `1/hour burst ${ROOM}`

const oddGo: CustomOutcome = message => (numberOf(message.payload?.()) % 2 === 1 ? 'drop' : 'deliver')

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

/** The payload of a numbered message. */
export function payloadOf(number: number): string {
  return JSON.stringify({ n: number, raw: 'x' })
}
