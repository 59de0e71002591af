import { describe, expect, it } from 'vitest'
import { createKeyMaker, describeKey, findScopeProblem } from '../../../../src/chain/rules/key-scope.ts'
import type { Sender } from '../../../../src/core/message.ts'

function keyOf(per: string, sender: Sender): string {
  const message = { topic: 'a/b', on: 'publish' as const, sender, size: 1 }
  return createKeyMaker(per).keyOf({ message, sender, pattern: 'a/#', captures: new Map() })
}

describe('per: ip', () => {
  it('uses an IPv4 address itself, also inside IPv6', () => {
    expect(keyOf('ip', { ip: '10.1.2.3' })).toBe('10.1.2.3')
    expect(keyOf('ip', { ip: '::ffff:10.1.2.3' })).toBe('10.1.2.3')
  })

  it('uses the /64 network of IPv6', () => {
    expect(keyOf('ip', { ip: '2001:db8:1:2::1' })).toBe('2001:db8:1:2::/64')
    expect(keyOf('ip', { ip: '2001:db8:1:2:ffff:ffff:ffff:ffff' })).toBe('2001:db8:1:2::/64')
    expect(keyOf('ip', { ip: '2001:db8:1:3::1' })).toBe('2001:db8:1:3::/64')
  })

  it('accepts prefix lengths for both families', () => {
    expect(keyOf('ip/24', { ip: '10.1.2.3' })).toBe('10.1.2.0/24')
    expect(keyOf('ip/24', { ip: '2001:db8::1' })).toBe('2001:db8::/64')
    expect(keyOf('ip/24/56', { ip: '2001:db8:0:1ff::1' })).toBe('2001:db8:0:100::/56')
    expect(keyOf('ip/32/128', { ip: '2001:db8::1' })).toBe('2001:db8::1/128')
    expect(keyOf('ip/48', { ip: '2001:db8:0:1::1' })).toBe('2001:db8::/48')
    expect(findScopeProblem('ip/33/64', [])).toMatch(/^ip\/33\/64 is not a prefix length/)
    expect(findScopeProblem('ip/24/129', [])).toMatch(/^ip\/24\/129 is not a prefix length/)
  })

  it('uses text that is not an address as it is', () => {
    expect(keyOf('ip', { ip: 'unix' })).toBe('unix')
    expect(keyOf('ip', {})).toBe('')
  })
})

it('describes a key, whatever its parts contain', () => {
  const sender = { client: 'c', user: '2:x' }
  const message = { topic: 'a/b', on: 'publish' as const, sender, size: 1 }
  const key = createKeyMaker(['user', 'client', 'ip']).keyOf({
    message,
    sender,
    pattern: '',
    captures: new Map(),
  })
  expect(describeKey(['user', 'client', 'ip'], key)).toBe('user=2:x, client=c, ip=')
  expect(describeKey(['client'], 'c')).toBe('client=c')
})

describe('per: "user|ip"', () => {
  it('uses the first part that is known', () => {
    expect(keyOf('user|ip', { user: 'ann', ip: '10.0.0.1' })).toBe('ann')
    expect(keyOf('user|ip', { ip: '10.0.0.1' })).toBe('1|10.0.0.1')
    expect(keyOf('user|ip', { user: '', ip: '10.0.0.1' })).toBe('1|10.0.0.1')
    expect(keyOf('user|ip', {})).toBe('')
  })

  it('separates a user named like the key of an address', () => {
    expect(keyOf('user|ip', { user: '1|10.0.0.1' })).toBe('0|1|10.0.0.1')
    expect(keyOf('user|ip', { user: '10.0.0.1' })).toBe('10.0.0.1')
  })

  it('names the invalid scope', () => {
    expect(findScopeProblem('user|ipp', [])).toMatch(/^"ipp" is neither a scope/)
    expect(findScopeProblem('user|global', [])).toMatch(/global is always known/)
    expect(findScopeProblem('site|client', ['site'])).toBeUndefined()
  })
})
