import { describe, expect, it, vi } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { PayloadReader, parsePayload } from '../../../src/core/parse-payload.ts'

it.each([
  ['a text', '{"v":1}'],
  ['a Buffer', Buffer.from('{"v":1}')],
  ['a part of other bytes', new TextEncoder().encode('..{"v":1}..').subarray(2, 9)],
])('%s is parsed as JSON', (_name, payload) => {
  expect(parsePayload(payload, 7)).toEqual({ v: 1 })
})

it.each([
  ['no payload', undefined],
  ['an empty text', ''],
  ['other text', 'on'],
  ['bytes that are no text', Uint8Array.of(0xff, 0xfe)],
])('%s is parsed as undefined', (_name, payload) => {
  expect(parsePayload(payload, payload?.length ?? 0)).toBeUndefined()
})

it('a payload beyond the bound is not parsed', () => {
  const largest = `"${'x'.repeat(MAX_SIZES.parsedPayloadBytes - 2)}"`
  expect(parsePayload(largest, largest.length)).toHaveLength(MAX_SIZES.parsedPayloadBytes - 2)
  expect(parsePayload(`${largest} `, largest.length + 1)).toBeUndefined()
})

it('a text longer than the bound is not parsed, whatever size is claimed', () => {
  const text = `"${'x'.repeat(MAX_SIZES.parsedPayloadBytes)}"`
  expect(parsePayload(text, 10)).toBeUndefined()
})

describe('a reader of a payload', () => {
  const bytes = Buffer.from('{"a":{"b":[1,2]},"c":"x"}')

  it('reads fields and the whole payload in any order', () => {
    const expected = { a: { b: [1, 2] }, c: 'x' }
    for (const order of [
      ['a', 'c', 'all'],
      ['all', 'a', 'c'],
      ['c', 'c', 'all', 'a'],
    ]) {
      const reader = new PayloadReader()
      for (const what of order) {
        if (what === 'all') expect(reader.parse(bytes, bytes.length)).toEqual(expected)
        else expect(reader.readField(bytes, bytes.length, [what])).toEqual(parsedField(expected, what))
      }
    }
  })

  it('parses the payload at most once, and not for a single field', () => {
    const parse = vi.spyOn(JSON, 'parse')
    const wholes = (): number => parse.mock.calls.filter(([text]) => text === bytes.toString()).length
    try {
      const reader = new PayloadReader()
      for (let times = 0; times < 3; times++)
        expect(reader.readField(bytes, bytes.length, ['a', 'b', 1])).toBe(2)
      expect(parse.mock.calls).toEqual([['2']])
      for (let times = 0; times < 3; times++) {
        expect(reader.readField(bytes, bytes.length, ['c'])).toBe('x')
        expect(reader.readField(bytes, bytes.length, ['none'])).toBeUndefined()
        expect(reader.parse(bytes, bytes.length)).toBe(reader.parse(bytes, bytes.length))
      }
      expect(wholes()).toBe(1)
    } finally {
      parse.mockRestore()
    }
  })

  it('finds no field in what is not JSON, empty or too large, and never parses it', () => {
    const parse = vi.spyOn(JSON, 'parse')
    try {
      const large = `{"a":"${'x'.repeat(MAX_SIZES.parsedPayloadBytes)}"}`
      for (const payload of [undefined, '', 'OFF', '{"a":1', '{"a":1}}', Buffer.from([0xff]), large]) {
        const reader = new PayloadReader()
        expect(reader.readField(payload, payload?.length ?? 0, ['a'])).toBeUndefined()
        expect(reader.readField(payload, payload?.length ?? 0, ['b'])).toBeUndefined()
        expect(reader.parse(payload, payload?.length ?? 0)).toBeUndefined()
      }
      expect(parse).not.toHaveBeenCalled()
    } finally {
      parse.mockRestore()
    }
  })

  it('finds fields whose names are escaped', () => {
    const escaped = '{"\\u0061":1}'
    expect(new PayloadReader().readField(escaped, escaped.length, ['a'])).toBe(1)
  })
})

function parsedField(payload: object, name: string): unknown {
  return (payload as Record<string, unknown>)[name]
}
