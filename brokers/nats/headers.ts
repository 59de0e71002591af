import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { MessageHeaders } from '../../src/core/message.ts'
import { headerBlockOf } from './client-internals.ts'
import type { NatsHeaders, NatsMessage } from './client-types.ts'

/** Creates empty headers: `headers` of the NATS client in use. */
export type HeadersFactory = () => NatsHeaders

const NO_HEADERS: MessageHeaders = Object.freeze(Object.create(null) as MessageHeaders)

const LINE_FEED = 10
/** Header name that the client would decode. */
const NAME = /^[!-9;-~]+$/

/**
 * Returns the headers of a message as plain values: at most `MAX_SIZES.headerNames` names with `MAX_SIZES.headerValues`
 * values each. Headers that the client cannot read (its getter throws on invalid names) count as absent. Never throws.
 * The result has no prototype, so that no name is special.
 *
 * Why it reads the undecoded block first: the client compares each header with all earlier ones. For 20,000 headers,
 * which fit into one message, that takes 10 s.
 */
export function readHeaders(message: NatsMessage): MessageHeaders {
  try {
    const block = Object.hasOwn(message, 'headers') ? undefined : headerBlockOf(message)
    if (block === undefined ? hasLargeHeaders(message) : isLargeBlock(block)) return readBlock(block)
    const original = message.headers
    if (original === undefined) return NO_HEADERS
    const read = Object.create(null) as Record<string, string | readonly string[]>
    for (const name of original.keys().slice(0, MAX_SIZES.headerNames)) {
      // Without the match argument of `values`, which differs between client generations.
      const values = original.values(name).slice(0, MAX_SIZES.headerValues)
      read[name] = values.length === 1 ? values[0]! : values
    }
    return read
  } catch {
    return NO_HEADERS
  }
}

function isLargeBlock(block: Uint8Array): boolean {
  if (block.length > MAX_SIZES.natsHeaderBytes) return true
  // Too short for that many lines.
  if (block.length < MAX_SIZES.natsHeaderLines) return false
  let lines = 0
  for (let at = block.indexOf(LINE_FEED); at >= 0; at = block.indexOf(LINE_FEED, at + 1)) lines++
  return lines > MAX_SIZES.natsHeaderLines
}

/** Returns true if the headers may be too many, judged by the client's public API. */
function hasLargeHeaders(message: NatsMessage): boolean {
  const { subject, reply = '', data } = message
  const sizeBytes = (message as { size?(): number }).size?.()
  if (typeof sizeBytes !== 'number') return false
  const headerBytes = sizeBytes - Buffer.byteLength(subject) - Buffer.byteLength(reply) - data.length
  // A header line has at least four bytes.
  return headerBytes > 4 * MAX_SIZES.natsHeaderLines
}

/** Decodes the first headers of a block in bounded time. */
function readBlock(block: Uint8Array | undefined): MessageHeaders {
  if (block === undefined) return NO_HEADERS
  const read = Object.create(null) as Record<string, string | string[]>
  let names = 0
  const lines = Buffer.from(block.buffer, block.byteOffset, Math.min(block.length, MAX_SIZES.natsHeaderBytes))
    .toString()
    .split('\r\n', MAX_SIZES.natsHeaderLines)
  // The last line may be cut off, and the first is the version.
  for (const line of lines.slice(1, -1)) {
    const colon = line.indexOf(':')
    if (colon < 0) continue
    const name = line.slice(0, colon)
    if (!NAME.test(name)) return NO_HEADERS
    const value = line.slice(colon + 1).trim()
    const before = read[name]
    if (before === undefined) {
      if (++names > MAX_SIZES.headerNames) break
      read[name] = value
    } else if (typeof before === 'string') read[name] = [before, value]
    else if (before.length < MAX_SIZES.headerValues) before.push(value)
  }
  return read
}

/** Returns new headers with those of a message and `added`, or undefined without a factory. */
export function extendHeaders(
  make: HeadersFactory | undefined,
  added: Readonly<Record<string, string>>,
  message?: NatsMessage,
): NatsHeaders | undefined {
  if (make === undefined) return undefined
  const headers = make()
  const before = message === undefined ? NO_HEADERS : readHeaders(message)
  for (const [name, value] of Object.entries(before)) {
    if (Object.hasOwn(added, name) || name.startsWith('Nats-')) continue
    for (const each of typeof value === 'string' ? [value] : value) headers.append(name, each)
  }
  for (const [name, value] of Object.entries(added)) headers.append(name, value)
  return headers
}
