import * as v3 from '@nats-io/transport-node'
import { describe, expect, it } from 'vitest'
import type { NatsHeaders, NatsMessage } from '../../../brokers/nats/client-types.ts'
import { readHeaders } from '../../../brokers/nats/headers.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'

/** A message whose client says nothing of its inside. */
function publicMessage(lines: readonly string[], sizes: boolean): NatsMessage & { decoded: boolean } {
  const block = `NATS/1.0\r\n${lines.join('\r\n')}\r\n\r\n`
  const data = Buffer.from('payload')
  return {
    decoded: false,
    subject: 'a.b',
    reply: 'r',
    sid: 1,
    data,
    ...(sizes && { size: () => 'a.b'.length + 'r'.length + block.length + data.length }),
    get headers(): NatsHeaders {
      this.decoded = true
      const headers = v3.headers()
      for (const line of lines) headers.append(line.split(':')[0]!, line.split(':')[1]!)
      return headers
    },
  }
}

/** A message as both generations of the client keep it. */
function insideMessage(block: string): NatsMessage & { decoded: boolean } {
  return new InsideMessage(block)
}

class InsideMessage implements NatsMessage {
  decoded = false
  readonly subject = 'a.b'
  readonly sid = 1
  readonly data = Buffer.alloc(0)
  readonly _rdata: Buffer
  readonly _msg: { readonly hdr: number }

  constructor(block: string) {
    this._rdata = Buffer.from(block)
    this._msg = { hdr: this._rdata.length }
  }

  get headers(): undefined {
    this.decoded = true
    return undefined
  }
}

const blockOf = (lines: readonly string[]): string => `NATS/1.0\r\n${lines.join('\r\n')}\r\n\r\n`
const manyLines = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `h${index}: ${index}`)

describe('headers', () => {
  it('are decoded by the client up to the bounds, and by nobody else', () => {
    const lines = manyLines(MAX_SIZES.natsHeaderLines - 2)
    const within = insideMessage(blockOf(lines))
    readHeaders(within)
    expect(within.decoded).toBe(true)
    for (const block of [
      blockOf(manyLines(MAX_SIZES.natsHeaderLines)),
      blockOf([`a: ${'x'.repeat(MAX_SIZES.natsHeaderBytes)}`]),
    ]) {
      const beyond = insideMessage(block)
      readHeaders(beyond)
      expect(beyond.decoded).toBe(false)
    }
  })

  it('beyond the bounds are read as the client would, as far as the bounds go', () => {
    const lines = ['a: 1', 'a:2', 'A: 3', 'no header', '__proto__: x', ...manyLines(1_000)]
    const read = readHeaders(insideMessage(blockOf(lines)))
    expect(Object.keys(read)).toHaveLength(MAX_SIZES.headerNames)
    expect(Object.getPrototypeOf(read)).toBeNull()
    expect(read).toMatchObject({ a: ['1', '2'], A: '3', h0: '0' })
    expect(Object.entries(read)[2]).toEqual(['__proto__', 'x'])
    const same = readHeaders(
      insideMessage(blockOf(Array.from({ length: 1_000 }, (_, index) => `a: ${index}`))),
    )
    expect(same.a).toEqual(Array.from({ length: MAX_SIZES.headerValues }, (_, index) => String(index)))
    expect(readHeaders(insideMessage(blockOf(['bad name: x', ...lines])))).toEqual({})
  })

  it('of a client that keeps them elsewhere are measured by its own word, and count as absent beyond the bound', () => {
    const few = publicMessage(['a: 1', 'b: 2'], true)
    expect(readHeaders(few)).toEqual({ a: '1', b: '2' })
    const many = publicMessage(manyLines(MAX_SIZES.natsHeaderLines), true)
    expect(readHeaders(many)).toEqual({})
    expect(many.decoded).toBe(false)
    expect(readHeaders(publicMessage(['a: 1'], false))).toEqual({ a: '1' })
  })
})
