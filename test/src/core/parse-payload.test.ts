import { expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { parsePayload } from '../../../src/core/parse-payload.ts'

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
