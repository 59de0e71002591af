import { describe, expect, it } from 'vitest'
import { ReplayTotals } from '../../../../src/cli/replay/replay-totals.ts'
import type { Decision } from '../../../../src/core/decision.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { CapturedMessage } from '../../../../src/core/message-from-fields.ts'

const refusal: Decision = {
  allowed: false,
  outcome: 'drop',
  reason: 'rate_limit_exceeded',
  rule: 'all',
  retryAfterMs: 5,
}

describe('Totals', () => {
  it('find the worst among more senders than are counted', () => {
    const totals = new ReplayTotals(['all', 'never met', 'exempt:alarms'])
    for (let n = 0; n < MAX_SIZES.countedSenders * 5; n++) {
      const client = n % 3 === 0 ? 'flooder' : `c${n}`
      totals.recordDecision(n, new CapturedMessage({ topic: 't', sender: { client } }, 'mqtt'), refusal)
    }
    const lines = totals.describe()
    expect(lines).toContain('1 rule decided no message')
    expect(lines.find(line => line.startsWith('client'))).toMatch(/^client flooder +1,/)
    expect(lines.at(-1)).toMatch(/very many senders, counts may be up to \d+ too high/)
  })

  it('list rules in shadow apart that would refuse nothing', () => {
    const totals = new ReplayTotals(['all', 'never met', 'trial'], name => name === 'trial')
    totals.recordDecision(0, new CapturedMessage({ topic: 't', sender: {} }, 'mqtt'), refusal)
    const lines = totals.describe()
    expect(lines[0]).toBe('1 message over 0ms: 0 allowed, 1 refused (100.0 %)')
    expect(lines).toContain('1 rule decided no message')
    expect(lines).toContain('1 rule in shadow would refuse no message')
  })

  it('show no api key and no control characters', () => {
    const totals = new ReplayTotals([])
    for (const sender of [{ apiKey: 'secret-key' }, { client: 'a\u001b[2J' }]) {
      totals.recordDecision(0, new CapturedMessage({ topic: 't', sender }, 'mqtt'), refusal)
    }
    const text = totals.describe().join('\n')
    expect(text).toContain('api key ***')
    expect(text).not.toContain('secret-key')
    expect(text).not.toContain('\u001b')
  })
})
