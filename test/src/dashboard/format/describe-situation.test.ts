import { expect, it } from 'vitest'
import type { Senders, Status, Summary } from '../../../../src/dashboard/api/types.ts'
import { describeSituation } from '../../../../src/dashboard/format/describe-situation.ts'

const status = { store: { name: 'redis', ok: true }, load: null } as Status

function summary(blocked: number, rule = 'per-client'): Summary {
  const rules = { error: 0, list: blocked === 0 ? [] : [{ name: rule, count: blocked }] }
  return { range: '1h', total: 1_000, blocked, topBlocked: { rules } } as Summary
}

function senders(count: number): Senders {
  return { senders: count === 0 ? [] : [{ id: 'client:d7', name: 'd7', count }] } as unknown as Senders
}

it('names a store that does not answer before anything else', () => {
  const down = { ...status, store: { name: 'redis', ok: false, fallback: 'memory' } } as Status
  expect(describeSituation(down, summary(500), senders(500))).toEqual({
    tone: 'critical',
    text: 'The store redis does not answer. Until it does, memory decides.',
  })
})

it('names the sender behind most refusals, and the rule', () => {
  expect(describeSituation(status, summary(500), senders(400))).toEqual({
    tone: 'warning',
    text: 'caused 80 % of the refusals of the last hour. The rule per-client refuses most.',
    sender: 'client:d7',
  })
})

it('names none if many senders are refused', () => {
  const { text, sender } = describeSituation(status, summary(500), senders(250))
  expect(text).toBe('Refused in the last hour: 50 %, of many senders. The rule per-client refuses most.')
  expect(sender).toBeUndefined()
})

it('says that nothing was refused, and that limits are scaled', () => {
  const loaded = { ...status, load: { factor: 0.5, reason: 'load high' } }
  expect(describeSituation(loaded, summary(0), senders(0))).toEqual({
    tone: 'ok',
    text: 'Nothing was refused in the last hour. Limits are scaled by 0.5: load high.',
  })
})
