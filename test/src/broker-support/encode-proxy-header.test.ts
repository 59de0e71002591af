import { describe, expect, it } from 'vitest'
import { encodeProxyHeader, LOCAL_PROXY_HEADER } from '../../../src/broker-support/encode-proxy-header.ts'
import { readProxyHeader } from '../../../src/broker-support/proxy-header.ts'

const DESTINATION = { ip: '127.0.0.1', port: 1883 }

describe('a PROXY protocol header', () => {
  it('has the bytes of the specification', () => {
    const header = encodeProxyHeader({ ip: '192.0.2.7', port: 50_000 }, DESTINATION)
    expect(header.toString('hex')).toBe(
      `0d0a0d0a000d0a515549540a${'21'}${'11'}${'000c'}${'c0000207'}${'7f000001'}${'c350'}${'075b'}`,
    )
    expect(LOCAL_PROXY_HEADER.toString('hex')).toBe('0d0a0d0a000d0a515549540a20000000')
  })

  it.each([
    ['192.0.2.7', '192.0.2.7', 28],
    ['2001:db8::7', '2001:db8::7', 52],
    ['::1', '::1', 52],
    ['fe80::', 'fe80::', 52],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2:3:4:5:6', 52],
    ['fe80::1%eth0', 'fe80::1', 52],
    ['::ffff:192.0.2.7', '192.0.2.7', 52],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221', 52],
  ])('with %s is read as %s', (ip, expected, sizeBytes) => {
    const header = encodeProxyHeader({ ip, port: 1 }, DESTINATION)
    expect(readProxyHeader(header)).toEqual({ kind: 'found', sizeBytes, ip: expected })
  })

  it('maps an IPv4 end to IPv6 if the other end is IPv6', () => {
    const header = encodeProxyHeader({ ip: '192.0.2.7', port: 1 }, { ip: '::1', port: 1883 })
    expect(readProxyHeader(header)).toEqual({ kind: 'found', sizeBytes: 52, ip: '192.0.2.7' })
  })

  it('of a health check names no address', () => {
    expect(readProxyHeader(LOCAL_PROXY_HEADER)).toEqual({ kind: 'found', sizeBytes: 16 })
  })
})
