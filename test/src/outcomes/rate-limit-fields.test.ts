import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import type { Decision } from '../../../src/core/decision.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { natsRefusalHeaders } from '../../../src/outcomes/nats-refusal.ts'
import { lowerCaseFields, rateLimitFields } from '../../../src/outcomes/rate-limit-fields.ts'
import type { RuleInfo } from '../../../src/outcomes/rule-info.ts'

function ruleInfoOf(rate: string, name = 'burst', algorithm?: 'fixed-window'): RuleInfo {
  const rule = limit({ name, rate, per: ['client', 'topic'], ...(algorithm ? { algorithm } : {}) })
  return new Gate().use(rule).ruleOf(name)!
}

const allowed: Decision = {
  ...{ allowed: true, outcome: 'deliver', reason: 'ok', rule: 'burst', limit: 100, remaining: 50 },
  ...{ retryAfterMs: 0, resetMs: 29_001 },
}
const refused: Decision = {
  ...{ allowed: false, outcome: 'reject', reason: 'rate_limit_exceeded', rule: 'burst', limit: 100 },
  ...{ remaining: 0, retryAfterMs: 600, resetMs: 60_000 },
}

describe('the rate-limit fields', () => {
  it('of a message that passes are those of draft 11, in whole seconds, rounded up', () => {
    expect(rateLimitFields(allowed, ruleInfoOf('100/min', 'burst', 'fixed-window'))).toEqual({
      'RateLimit-Policy': '"burst";q=100;w=60',
      RateLimit: '"burst";r=50;t=30',
    })
  })

  it('of a refusal tell when to come again, never before there is more', () => {
    expect(rateLimitFields(refused, ruleInfoOf('100/min'))).toEqual({
      'RateLimit-Policy': '"burst";q=100;w=60',
      RateLimit: '"burst";r=0;t=1',
      'Retry-After': '1',
    })
    expect(rateLimitFields({ ...refused, retryAfterMs: Infinity }, ruleInfoOf('100/min'))).toEqual({
      'RateLimit-Policy': '"burst";q=100;w=60',
      RateLimit: '"burst";r=0;t=60',
    })
  })

  it('tell bytes as content-bytes, and a burst as the quota of the time that fills it', () => {
    expect(rateLimitFields(allowed, ruleInfoOf('1MB/s'))['RateLimit-Policy']).toBe(
      '"burst";q=1000000;w=1;qu="content-bytes"',
    )
    expect(rateLimitFields(allowed, ruleInfoOf('10/s burst 25'))['RateLimit-Policy']).toBe('"burst";q=25;w=3')
  })

  it('quote the name of a rule as a structured string', () => {
    const name = 'a "b" \\ ü'
    expect(rateLimitFields(allowed, ruleInfoOf('1/s', name)).RateLimit).toBe(
      '"a \\"b\\" \\\\ %C3%BC";r=50;t=30',
    )
    const long = rateLimitFields(allowed, ruleInfoOf('1/s', 'ü'.repeat(900))).RateLimit!
    expect(long.length).toBeLessThanOrEqual(MAX_SIZES.fieldChars + 20)
  })

  it('of the older kind are told only where they are asked for', () => {
    expect(rateLimitFields(refused, ruleInfoOf('100/min'), { legacy: true })).toMatchObject({
      'X-RateLimit-Limit': '100',
      'X-RateLimit-Remaining': '0',
      'X-RateLimit-Reset': '1',
      'X-RateLimit-Scope': 'client,topic',
      'X-RateLimit-Algorithm': 'token-bucket',
    })
  })

  it('without a rule are only when to come again, if anything', () => {
    expect(rateLimitFields(refused, undefined)).toEqual({ 'Retry-After': '1' })
    expect(rateLimitFields(allowed, undefined)).toEqual({})
  })

  it('are called in lower case as user properties', () => {
    expect(Object.keys(lowerCaseFields(rateLimitFields(refused, ruleInfoOf('100/min'))))).toEqual([
      ...['ratelimit-policy', 'ratelimit', 'retry-after'],
    ])
  })

  it('go with the error of a NATS service, on one line', () => {
    const headers = natsRefusalHeaders(refused, ruleInfoOf('100/min'), 'too\r\nfast')
    expect(headers).toMatchObject({
      'Nats-Service-Error-Code': '429',
      'Nats-Service-Error': 'too%0D%0Afast',
      RateLimit: '"burst";r=0;t=1',
      'Retry-After': '1',
    })
  })
})
