import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { findForwardedIp, trustProxies } from '../../../src/broker-support/trusted-proxies.ts'

const trust = trustProxies(['127.0.0.1', '10.0.0.0/8', 'fd00::/8'])

describe('the address behind proxies', () => {
  it('is the socket, where the socket is no trusted proxy', () => {
    expect(findForwardedIp('203.0.113.9', '1.2.3.4', trust)).toBe('203.0.113.9')
  })
  it('is the rightmost that is no trusted proxy', () => {
    expect(findForwardedIp('127.0.0.1', '6.6.6.6, 203.0.113.9, 10.1.2.3', trust)).toBe('203.0.113.9')
  })
  it('is the leftmost, where all are trusted', () => {
    expect(findForwardedIp('::ffff:127.0.0.1', '10.9.9.9, fd00::1', trust)).toBe('10.9.9.9')
  })
  it('is read with ports and brackets', () => {
    expect(findForwardedIp('127.0.0.1', '203.0.113.9:5123', trust)).toBe('203.0.113.9')
    expect(findForwardedIp('127.0.0.1', '[2001:db8::1]:5123', trust)).toBe('2001:db8::1')
    expect(findForwardedIp('127.0.0.1', ['9.9.9.9', '203.0.113.9'], trust)).toBe('203.0.113.9')
  })
  it('is the last proxy that spoke sense, where a hop is no address', () => {
    expect(findForwardedIp('127.0.0.1', '203.0.113.9, nonsense, 10.0.0.1', trust)).toBe('10.0.0.1')
  })
  it('is looked for through a bounded number of hops and characters', () => {
    expect(findForwardedIp('127.0.0.1', `203.0.113.9${', 10.0.0.1'.repeat(40)}`, trust)).toBe('10.0.0.1')
    expect(findForwardedIp('127.0.0.1', '203.0.113.9,'.repeat(400), trust)).toBe('127.0.0.1')
  })
  it('is never one that a stranger wrote, whatever he wrote', () => {
    fc.assert(
      fc.property(fc.string(), text => {
        expect(findForwardedIp('127.0.0.1', `${text.replaceAll(',', ';')}, 203.0.113.9`, trust)).toBe(
          '203.0.113.9',
        )
      }),
      { seed: 7, numRuns: 200 },
    )
  })
  it('cannot be trusted by a list that holds no addresses', () => {
    expect(() => trustProxies(['loopback'])).toThrow(/trustProxies\[0\].*not an address/)
  })
})
