import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readProxyHeader } from '../../../src/broker-support/proxy-header.ts'
import { proxyV2 } from '../../brokers/aedes/proxy-header-bytes.ts'

const MQTT = Buffer.from([0x10, 0xff, 0x80])
const v4 = Buffer.from([203, 0, 113, 9, 10, 0, 0, 1, 0x30, 0x39, 0x07, 0x5b])
const v6 = Buffer.concat([
  Buffer.from('20010db8000000010000000000000001', 'hex'),
  Buffer.from('00000000000000000000000000000001', 'hex'),
  Buffer.from([0x30, 0x39, 0x07, 0x5b]),
])

function line(text: string): Buffer {
  return Buffer.from(`${text}\r\n`)
}

describe('a PROXY header', () => {
  it('of version 1 tells the address and where the rest begins', () => {
    const header = line('PROXY TCP4 203.0.113.9 10.0.0.1 12345 1883')
    const found = { kind: 'found', sizeBytes: header.length, ip: '203.0.113.9' }
    expect(readProxyHeader(Buffer.concat([header, MQTT]))).toEqual(found)
    const six = line('PROXY TCP6 2001:DB8:0:1:0:0:0:1 ::1 12345 1883')
    expect(readProxyHeader(six)).toMatchObject({ ip: '2001:db8:0:1::1' })
  })
  it('of version 2 tells the address, v4 and v6, and passes over extensions', () => {
    const extension = Buffer.from([4, 0, 2, 1, 2])
    expect(readProxyHeader(Buffer.concat([proxyV2(1, 0x11, v4, extension), MQTT]))).toEqual({
      kind: 'found',
      sizeBytes: 16 + v4.length + extension.length,
      ip: '203.0.113.9',
    })
    expect(readProxyHeader(proxyV2(1, 0x21, v6))).toMatchObject({ kind: 'found', ip: '2001:db8:0:1::1' })
  })
  it('tells no address for the proxy itself, or where it knows none', () => {
    expect(readProxyHeader(line('PROXY UNKNOWN'))).toEqual({ kind: 'found', sizeBytes: 15 })
    expect(readProxyHeader(proxyV2(0, 0x11, v4))).toEqual({ kind: 'found', sizeBytes: 28 })
    expect(readProxyHeader(proxyV2(1, 0x31, Buffer.alloc(216)))).toEqual({ kind: 'found', sizeBytes: 232 })
  })
  it('is partial until its last byte, wherever it is cut', () => {
    for (const header of [line('PROXY TCP4 203.0.113.9 10.0.0.1 12345 1883'), proxyV2(1, 0x21, v6)]) {
      for (let length = 1; length < header.length; length++) {
        expect(readProxyHeader(header.subarray(0, length))).toEqual({ kind: 'partial' })
      }
      expect(readProxyHeader(header)).toMatchObject({ kind: 'found' })
    }
  })
  it('is none of an MQTT CONNECT', () => {
    expect(readProxyHeader(MQTT)).toEqual({ kind: 'none' })
  })
  it.each([
    ['no address', line('PROXY TCP4 203.0.113.999 10.0.0.1 12345 1883')],
    ['the wrong family', line('PROXY TCP6 203.0.113.9 10.0.0.1 12345 1883')],
    ['too few words', line('PROXY TCP4 203.0.113.9')],
    ['an endless line', Buffer.from(`PROXY TCP4 ${'1'.repeat(200)}`)],
    ['a command there is not', proxyV2(2, 0x11, v4)],
    ['an address cut short', proxyV2(1, 0x11, v4.subarray(0, 8))],
    ['an enormous length', proxyV2(1, 0x11, Buffer.alloc(60_000))],
  ])('with %s is broken', (_, bytes) => {
    expect(readProxyHeader(bytes)).toEqual({ kind: 'broken' })
  })
  it('is read without throwing from any bytes behind either signature', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (tail, second) => {
        const signature = second
          ? Buffer.from('0d0a0d0a000d0a515549540a21', 'hex')
          : Buffer.from('PROXY TCP4 ')
        const header = readProxyHeader(Buffer.concat([signature, tail]))
        expect(['partial', 'broken', 'found']).toContain(header.kind)
      }),
      { seed: 11, numRuns: 300 },
    )
  })
})
