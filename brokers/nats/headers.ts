import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Headers } from '../../src/core/message.ts'
import type { NatsHeaders, NatsMessage } from './client.ts'
import { headerBlockOf } from './client-internals.ts'

/** Makes empty headers: `headers` of the user's own client. */
export type MakeHeaders = () => NatsHeaders

const NONE: Headers = Object.freeze(Object.create(null) as Headers)

const LINE_FEED = 10
/** Of a header that the client would decode. */
const NAME = /^[!-9;-~]+$/

/**
 * Returns the headers of a message as plain values: at most `BOUNDS.headerNames` names with `BOUNDS.headerValues` values each.
 * Headers that the client cannot read (its getter throws on invalid names) count as absent. Never throws. The result has no
 * prototype, so that no name is special.
 *
 * Why it looks at the undecoded block first: the client compares each header with all before it. 20,000 of them, which fit
 * into one message, would take it 10 s.
 */
export function readHeaders(message: NatsMessage): Headers {
  try {
    const block = Object.hasOwn(message, 'headers') ? undefined : headerBlockOf(message)
    if (block === undefined ? hasLargeHeaders(message) : isLarge(block)) return readBlock(block)
    const given = message.headers
    if (given === undefined) return NONE
    const read = Object.create(null) as Record<string, string | readonly string[]>
    for (const name of given.keys().slice(0, MAX_SIZES.headerNames)) {
      // `values` without its match argument, which the generations write differently.
      const values = given.values(name).slice(0, MAX_SIZES.headerValues)
      read[name] = values.length === 1 ? values[0]! : values
    }
    return read
  } catch {
    return NONE
  }
}

function isLarge(block: Uint8Array): boolean {
  if (block.length > MAX_SIZES.natsHeaderBytes) return true
  // Shorter than so many lines can be: nothing is to be counted.
  if (block.length < MAX_SIZES.natsHeaderLines) return false
  let lines = 0
  for (let at = block.indexOf(LINE_FEED); at >= 0; at = block.indexOf(LINE_FEED, at + 1)) lines++
  return lines > MAX_SIZES.natsHeaderLines
}

/** Whether the headers of a message could be too many, by what a client offers in public. */
function hasLargeHeaders(message: NatsMessage): boolean {
  const { subject, reply = '', data } = message
  const sizeBytes = (message as { size?(): number }).size?.()
  if (typeof sizeBytes !== 'number') return false
  const headerBytes = sizeBytes - Buffer.byteLength(subject) - Buffer.byteLength(reply) - data.length
  // A header line has at least four bytes.
  return headerBytes > 4 * MAX_SIZES.natsHeaderLines
}

/** Decodes the first headers of a block, in a time that depends on its bounds alone. */
function readBlock(block: Uint8Array | undefined): Headers {
  if (block === undefined) return NONE
  const read = Object.create(null) as Record<string, string | string[]>
  let names = 0
  const lines = Buffer.from(block.buffer, block.byteOffset, Math.min(block.length, MAX_SIZES.natsHeaderBytes))
    .toString()
    .split('\r\n', MAX_SIZES.natsHeaderLines)
  // The last one may be cut, and the first is the version.
  for (const line of lines.slice(1, -1)) {
    const colon = line.indexOf(':')
    if (colon < 0) continue
    const name = line.slice(0, colon)
    if (!NAME.test(name)) return NONE
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

/** Headers of one's own, made by the user's factory, with those of a message before them; undefined without a factory. */
export function makeHeaders(
  make: MakeHeaders | undefined,
  added: Readonly<Record<string, string>>,
  message?: NatsMessage,
): NatsHeaders | undefined {
  if (make === undefined) return undefined
  const made = make()
  const before = message === undefined ? NONE : readHeaders(message)
  for (const [name, value] of Object.entries(before)) {
    if (Object.hasOwn(added, name) || name.startsWith('Nats-')) continue
    for (const each of typeof value === 'string' ? [value] : value) made.append(name, each)
  }
  for (const [name, value] of Object.entries(added)) made.append(name, value)
  return made
}
