import { MAX_SIZES } from '../core/max-sizes.ts'
import type { MessageHeaders } from '../core/message.ts'

/** Headers of a message without any. Without a prototype, so that no name is special. */
export const NO_HEADERS: MessageHeaders = Object.freeze(Object.create(null) as MessageHeaders)

const LINE_END = '\r\n'
/** Header name that clients decode. */
const NAME = /^[!-9;-~]*$/
/** Part of a value that clients refuse. */
const BREAK = /[\r\n]/

/**
 * Returns the headers of an undecoded block of NATS, as clients decode them: at most `MAX_SIZES.headerNames` names with
 * `MAX_SIZES.headerValues` values each. Headers that clients cannot read count as absent. Never throws.
 */
export function readHeaderBlock(block: Uint8Array): MessageHeaders {
  const read = Object.create(null) as Record<string, string | string[]>
  let names = 0
  const isCut = block.length > MAX_SIZES.natsHeaderBytes
  const sizeBytes = isCut ? MAX_SIZES.natsHeaderBytes : block.length
  const text = Buffer.from(block.buffer, block.byteOffset, sizeBytes).toString()
  // The first line is the version.
  let start = text.indexOf(LINE_END) + LINE_END.length
  if (start < LINE_END.length) return NO_HEADERS
  for (let lines = 2; lines < MAX_SIZES.natsHeaderLines && start < text.length; lines++) {
    const lineEnd = text.indexOf(LINE_END, start)
    if (lineEnd < 0 && isCut) break
    const end = lineEnd < 0 ? text.length : lineEnd
    const line = text.slice(start, end)
    const colon = line.indexOf(':')
    if (colon >= 0) {
      const name = line.slice(0, colon)
      const value = line.slice(colon + 1).trim()
      if (!NAME.test(name) || BREAK.test(value)) return NO_HEADERS
      const before = read[name]
      if (before === undefined) {
        if (++names <= MAX_SIZES.headerNames) read[name] = value
      } else if (typeof before === 'string') read[name] = [before, value]
      else if (before.length < MAX_SIZES.headerValues) before.push(value)
    }
    start = end + LINE_END.length
  }
  return read
}
