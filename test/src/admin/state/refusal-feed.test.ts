import { describe, expect, it } from 'vitest'
import { RefusalFeed, type SentRefusal } from '../../../../src/admin/state/refusal-feed.ts'

function refusal(sender: string, topic: string, rule = 'r'): SentRefusal {
  return {
    sender,
    topic,
    rule,
    atMs: 0,
    lastAtMs: 0,
    count: 1,
    on: 'publish',
    reason: 'rate_limit_exceeded',
    outcome: 'drop',
    retryAfterMs: 100,
    text: 'x',
  }
}

describe('the refusals for listeners', () => {
  it('are at most 20 a second; the next one counts for those left out', () => {
    const feed = new RefusalFeed()
    const counts: number[] = []
    feed.subscribe({}, ({ count }) => counts.push(count))
    for (let index = 0; index < 50; index++) feed.publish(refusal('client:a', 't'))
    expect(counts).toEqual(Array.from({ length: 20 }, () => 1))
    feed.startSecond()
    feed.publish(refusal('client:a', 't'))
    expect(counts.at(-1)).toBe(31)
  })

  it('of one sender, rule or topic do not get lost among those of others', () => {
    const feed = new RefusalFeed()
    const seen: string[] = []
    const see =
      (name: string): ((sent: SentRefusal) => void) =>
      () =>
        void seen.push(name)
    const end = feed.subscribe({ sender: 'client:d7' }, see('sender'))
    feed.subscribe({ rule: 'other' }, see('rule'))
    feed.subscribe({ topic: 'fleet/+/x' }, see('mqtt'))
    feed.subscribe({ topic: 'fleet.>' }, see('nats'))
    for (let index = 0; index < 50; index++) feed.publish(refusal('client:flood', 'a'))
    feed.publish(refusal('client:d7', 'a'))
    feed.publish(refusal('client:d8', 'a', 'other'))
    feed.publish(refusal('client:d8', 'fleet/1/x'))
    feed.publish(refusal('client:d8', 'fleet.1.x'))
    end()
    feed.publish(refusal('client:d7', 'a'))
    expect(seen).toEqual(['sender', 'rule', 'mqtt', 'nats'])
  })
})
