import { describe, expect, it } from 'vitest'
import { RecentRefusals, type RefusalEvent } from '../../../../src/admin/state/recent-refusals.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import type { Decision, Message, Sender } from '../../../../src/index.ts'

const REFUSED: Decision = {
  allowed: false,
  outcome: 'throttle',
  reason: 'rate_limit_exceeded',
  rule: 'r',
  limit: 5,
  remaining: 0,
  retryAfterMs: 100,
}

function message(topic: string, sender: Sender): Message {
  return { topic, on: 'publish', sender, size: 1 }
}

describe('recent refusals', () => {
  it('fold equal refusals within a second, also of a sender that alternates topics', () => {
    const events: RefusalEvent[] = []
    const recent = new RecentRefusals(event => events.push(event))
    const sender = { client: 'd7', user: 'ann' }
    for (let count = 0; count < 1_000; count++)
      recent.record(REFUSED, message(count % 2 === 0 ? 'a' : 'b', sender), sender, count)
    recent.record(REFUSED, message('a', sender), sender, 1_000)
    const history = recent.find('client', 'd7')
    expect(history?.refusals.map(({ topic, count }) => [topic, count])).toEqual([
      ['a', 500],
      ['b', 500],
      ['a', 1],
    ])
    expect(events.map(({ count }) => count)).toEqual([1, 1, 500])
    expect(recent.find('user', 'ann')).toBe(history)
    expect(recent.find('user', 'bob')).toBeUndefined()
  })

  it('keep the last of each sender, and the senders refused last, whatever they are called', () => {
    const recent = new RecentRefusals()
    const sender = { client: 'd7' }
    for (let count = 0; count < MAX_SIZES.refusalsPerSender + 5; count++)
      recent.record(REFUSED, message(`t/${count}`, sender), sender, count)
    expect(recent.find('client', 'd7')?.refusals).toHaveLength(MAX_SIZES.refusalsPerSender)
    for (let count = 0; count < 2 * MAX_SIZES.refusedSenders; count++) {
      const other = { client: `x${count}${'y'.repeat(300)}` }
      recent.record(REFUSED, message('t'.repeat(60_000), other), other, count)
    }
    expect(recent.find('client', 'd7')).toBeUndefined()
    expect(recent.size).toBeLessThanOrEqual(MAX_SIZES.refusedSenders)
    const last = recent.find('client', `x${2 * MAX_SIZES.refusedSenders - 1}${'y'.repeat(300)}`)
    expect(last?.refusals[0]?.topic).toHaveLength(MAX_SIZES.refusedTopicChars)
  })
})
