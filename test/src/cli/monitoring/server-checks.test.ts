import { describe, expect, it } from 'vitest'
import { checkCertificates, checkProxyHeaders } from '../../../../src/cli/monitoring/server-checks.ts'

const NOW_MS = Date.UTC(2026, 0, 14)
const DAY_MS = 86_400_000

describe('the checks of a server', () => {
  it('find certificates that expired or expire within three weeks', () => {
    const expiries = new Map([
      ['old.pem', NOW_MS - 1],
      ['soon.pem', NOW_MS + 20 * DAY_MS],
      ['late.pem', NOW_MS + 21 * DAY_MS],
    ])
    expect(checkCertificates(expiries, NOW_MS)).toEqual([
      { name: 'certificate', result: 'failed', detail: 'old.pem expired on 2026-01-13' },
      { name: 'certificate', result: 'warning', detail: 'soon.pem expires in 20 days, on 2026-02-03' },
      { name: 'certificate', result: 'ok', detail: 'late.pem expires in 21 days, on 2026-02-04' },
    ])
  })

  it.each([
    [
      { withHeader: 0, withoutHeader: 0 },
      { isExpected: false, hasProxies: false },
      'ok',
      'no proxy is trusted',
    ],
    [{ withHeader: 9, withoutHeader: 0 }, { isExpected: true, hasProxies: true }, 'ok', 'expected'],
    [
      { withHeader: 9, withoutHeader: 1 },
      { isExpected: true, hasProxies: true },
      'warning',
      'let the proxy send',
    ],
    [
      { withHeader: 0, withoutHeader: 5 },
      { isExpected: false, hasProxies: true },
      'warning',
      'set --proxy-protocol',
    ],
  ])('compare the PROXY headers with what is expected: %j, %j', (counts, options, result, detail) => {
    const check = checkProxyHeaders(counts, options)
    expect([check.result, check.detail]).toEqual([result, expect.stringContaining(detail)])
  })
})
