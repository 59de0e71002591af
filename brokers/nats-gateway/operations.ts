import { CARRIAGE_RETURN, isBlank, LINE_FEED } from './line-tokens.ts'

/** Operations of the NATS protocol. Their names are read without regard to case, as nats-server does. */
export const OPERATION = {
  unknown: 0,
  pub: 1,
  hpub: 2,
  sub: 3,
  unsub: 4,
  ping: 5,
  pong: 6,
  connect: 7,
  info: 8,
  msg: 9,
  hmsg: 10,
  ok: 11,
  error: 12,
} as const

export type Operation = (typeof OPERATION)[keyof typeof OPERATION]

interface OperationName {
  readonly operation: Operation
  /** In lower case. */
  readonly name: Buffer
}

const NAMES: readonly (readonly [string, Operation])[] = [
  ['pub', OPERATION.pub],
  ['hpub', OPERATION.hpub],
  ['msg', OPERATION.msg],
  ['hmsg', OPERATION.hmsg],
  ['ping', OPERATION.ping],
  ['pong', OPERATION.pong],
  ['sub', OPERATION.sub],
  ['unsub', OPERATION.unsub],
  ['+ok', OPERATION.ok],
  ['-err', OPERATION.error],
  ['info', OPERATION.info],
  ['connect', OPERATION.connect],
]

/** Names by their first byte in lower case. */
const BY_FIRST_BYTE: readonly (readonly OperationName[] | undefined)[] = Array.from(
  { length: 128 },
  (_, byte) => {
    const names = NAMES.filter(([name]) => name.charCodeAt(0) === byte)
    return names.length === 0
      ? undefined
      : names.map(([name, operation]) => ({ operation, name: Buffer.from(name) }))
  },
)

/** Bit by which letters in lower case differ from those in upper case. */
const LOWER_CASE = 0x20

/** Returns true if a line may begin with the byte. */
export function canStartLine(byte: number): boolean {
  return BY_FIRST_BYTE[toLowerCase(byte)] !== undefined
}

/** Returns the operation of the line that begins at `start` and is complete. */
export function readOperation(bytes: Buffer, start: number): Operation {
  const candidates = BY_FIRST_BYTE[toLowerCase(bytes[start]!)]
  if (candidates === undefined) return OPERATION.unknown
  for (const { operation, name } of candidates) {
    let index = 1
    while (index < name.length && toLowerCase(bytes[start + index]!) === name[index]) index++
    if (index < name.length) continue
    const next = bytes[start + index]!
    if (isBlank(next) || next === CARRIAGE_RETURN || next === LINE_FEED) return operation
  }
  return OPERATION.unknown
}

/** Returns true if a payload follows the line of the operation. */
export function hasPayload(operation: Operation): boolean {
  return (
    operation === OPERATION.pub ||
    operation === OPERATION.msg ||
    operation === OPERATION.hpub ||
    operation === OPERATION.hmsg
  )
}

function toLowerCase(byte: number): number {
  return byte >= 65 && byte <= 90 ? byte | LOWER_CASE : byte
}
