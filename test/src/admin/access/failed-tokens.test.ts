import { describe, expect, it } from 'vitest'
import { FailedTokens } from '../../../../src/admin/access/failed-tokens.ts'

const FAILURES = 5

describe('wrong tokens', () => {
  it('are counted by IPv6 network of 64 bits, since a caller has all of its addresses', () => {
    const failures = new FailedTokens()
    for (let count = 0; count < FAILURES; count++) failures.record(`2001:db8:0:1::${count + 1}`, 1_000)
    expect(failures.blockedMs('2001:db8:0:1:ffff::9', 1_000)).toBe(60_000)
    expect(failures.blockedMs('2001:db8:0:2::1', 1_000)).toBe(0)
  })

  it('are counted by IPv4 address, also if it is written as IPv6', () => {
    const failures = new FailedTokens()
    for (let count = 0; count < FAILURES; count++)
      failures.record(count % 2 === 0 ? '192.0.2.1' : '::ffff:192.0.2.1', 1_000)
    expect(failures.blockedMs('192.0.2.1', 31_000)).toBe(30_000)
    expect(failures.blockedMs('192.0.2.2', 31_000)).toBe(0)
  })
})
