import { NO_HEADERS, readHeaderBlock } from '../../src/broker-support/nats-header-block.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { MessageHeaders } from '../../src/core/message.ts'
import { headerBlockOf } from './client-internals.ts'
import type { NatsHeaders, NatsMessage } from './client-types.ts'

/** Creates empty headers: `headers` of the NATS client in use. */
export type HeadersFactory = () => NatsHeaders

/**
 * Returns the headers of a message as plain values: at most `MAX_SIZES.headerNames` names with `MAX_SIZES.headerValues`
 * values each. Headers that the client cannot read (its getter throws on invalid names) count as absent. Never throws.
 * The result has no prototype, so that no name is special.
 *
 * Why it reads the undecoded block if it can: the client compares each header with all earlier ones and creates several
 * lists for each. Three headers take it 2 µs, and 20,000, which fit into one message, 10 s.
 */
export function readHeaders(message: NatsMessage): MessageHeaders {
  try {
    const block = Object.hasOwn(message, 'headers') ? undefined : headerBlockOf(message)
    if (block !== undefined) return readHeaderBlock(block)
    if (hasLargeHeaders(message)) return NO_HEADERS
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

/** Returns true if the headers may be too many, judged by the client's public API. */
function hasLargeHeaders(message: NatsMessage): boolean {
  const { subject, reply = '', data } = message
  const sizeBytes = (message as { size?(): number }).size?.()
  if (typeof sizeBytes !== 'number') return false
  const headerBytes = sizeBytes - Buffer.byteLength(subject) - Buffer.byteLength(reply) - data.length
  // A header line has at least four bytes.
  return headerBytes > 4 * MAX_SIZES.natsHeaderLines
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
