import { createRequire } from 'node:module'
import * as v3 from '@nats-io/transport-node'
import { describe, expect, it } from 'vitest'
import type { NatsHeaders, NatsMessage } from '../../../brokers/nats/client-types.ts'
import { readHeaders } from '../../../brokers/nats/headers.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { random } from '../../support/random.ts'

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

/** Returns the decoder of a client; headers that it refuses are none. */
function decodeOf(file: string): (block: Uint8Array) => Record<string, unknown> {
  const path = `../../../node_modules/${file}`
  const { MsgHdrsImpl } = createRequire(import.meta.url)(path) as {
    readonly MsgHdrsImpl: { decode(block: Uint8Array): NatsHeaders }
  }
  return block => {
    try {
      const headers = MsgHdrsImpl.decode(block)
      const entries = headers.keys().map(name => [name, headers.values(name)] as const)
      return Object.fromEntries(entries.map(([name, all]) => [name, all.length === 1 ? all[0] : all]))
    } catch {
      return {}
    }
  }
}

const blockOf = (lines: readonly string[]): string => `NATS/1.0\r\n${lines.join('\r\n')}\r\n\r\n`
const manyLines = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `h${index}: ${index}`)

describe('headers', () => {
  it('are read from the undecoded block if the client has it', () => {
    for (const block of [
      blockOf(['a: 1']),
      blockOf(manyLines(MAX_SIZES.natsHeaderLines)),
      blockOf([`a: ${'x'.repeat(MAX_SIZES.natsHeaderBytes)}`]),
    ]) {
      const message = insideMessage(block)
      readHeaders(message)
      expect(message.decoded).toBe(false)
    }
    expect(readHeaders(insideMessage(blockOf(['a: 1'])))).toEqual({ a: '1' })
  })

  it.each([
    ['nats', decodeOf('nats/lib/nats-base-client/headers.js')],
    ['@nats-io', decodeOf('@nats-io/nats-core/lib/headers.js')],
  ])('are those that the client %s decodes, also of broken blocks', (_client, decode) => {
    const chance = random(7)
    const lines = [
      'a: 1',
      'a:2',
      'A: 3 ',
      ': x',
      'a',
      'b:',
      'ü: 1',
      'c: ü: 1',
      'd\t: 1',
      'e: 1\r2',
      'e: 1\n2',
      'f:\r',
    ]
    const ends = ['\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\n', '\r', '', '\r\n\r\n', '\0', '\ufffd']
    let readable = 0
    for (let round = 0; round < 2_000; round++) {
      let block = 'NATS/1.0'
      for (let count = chance.int(0, 4); count > 0; count--)
        block += chance.pick(ends) + chance.pick(lines.slice(0, chance.pick([4, 12])))
      if (chance.chance(0.8)) block += '\r\n\r\n'
      const expected = decode(Buffer.from(block))
      if (Object.keys(expected).length > 0) readable++
      expect([block, { ...readHeaders(insideMessage(block)) }]).toEqual([block, expected])
    }
    expect(readable).toBeGreaterThan(500)
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
