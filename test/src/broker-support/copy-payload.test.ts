import { expect, it } from 'vitest'
import { copyPayload } from '../../../src/broker-support/copy-payload.ts'

it('a small part of a chunk is copied, and no longer keeps the chunk in memory', () => {
  const chunk = Buffer.alloc(65_536, 'x')
  const packet = { payload: chunk.subarray(10, 14) }
  copyPayload(packet)
  expect(packet.payload.toString()).toBe('xxxx')
  expect(packet.payload.buffer.byteLength).toBe(4)
})

it('a payload of most of its chunk, and a text, stay as they are', () => {
  const payload = Buffer.alloc(100, 'x').subarray(0, 60)
  const packets = [{ payload }, { payload: 'text' }, { payload: undefined }]
  for (const packet of packets) copyPayload(packet)
  expect(packets.map(packet => packet.payload)).toEqual([payload, 'text', undefined])
  expect(packets[0]!.payload).toBe(payload)
})
