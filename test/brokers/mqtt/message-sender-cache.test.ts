import { describe, expect, it } from 'vitest'
import { MqttMessageSenderCache } from '../../../brokers/mqtt/message-sender-cache.ts'
import type { Sender } from '../../../src/core/message.ts'

const PACKET = { topic: 'a', payload: Buffer.alloc(0) }

function sendersOf(...identities: unknown[]): readonly Sender[] {
  const senders = new MqttMessageSenderCache(
    topic => identities[Number(topic)] as Sender,
    () => {},
  )
  return identities.map((_, index) => senders.senderOf(String(index), PACKET))
}

describe('the senders of a consumer', () => {
  it('are one object for one identity', () => {
    const [a, b, c, d] = sendersOf(
      { device: 'x', tier: 'gold' },
      { tier: 'gold', device: 'x' },
      { device: 'x', roles: ['admin'] },
      { device: 'x', roles: ['admin'] },
    )
    expect(a).toBe(b)
    expect(c).toBe(d)
    expect(a).toMatchObject({ device: 'x', tier: 'gold' })
    expect(c).toMatchObject({ device: 'x', roles: ['admin'] })
  })

  it('are never the same for texts that were made to look like those of another', () => {
    const identities = [
      { client: 'a', user: 'b' },
      { client: 'a1:b' },
      { client: 'ab' },
      { user: 'ab' },
      { client: '', user: 'ab' },
      { client: '-1:b' },
      { device: 'x' },
      { client: 5 },
      { client: '5' },
      {},
      undefined,
    ]
    const found = sendersOf(...identities)
    // Nobody and an identity without anything are the same.
    expect(new Set(found).size).toBe(identities.length - 1)
    expect(found.at(-1)).toBe(found.at(-2))
  })

  it('of whom identify throws are told apart by topic, and none passes for another by the name of it', () => {
    const failed: unknown[] = []
    const senders = new MqttMessageSenderCache(
      topic => {
        if (topic !== 'known') throw new Error('no')
        return { client: 'a' }
      },
      err => failed.push(err),
    )
    const known = senders.senderOf('known', PACKET)
    const others = ['1:a-----', '["a",null,null,null,null,null,null]', 'b'].map(topic =>
      senders.senderOf(topic, PACKET),
    )
    expect(new Set([known, ...others]).size).toBe(4)
    for (const other of others) expect(other.client).toBeUndefined()
    expect(failed).toHaveLength(3)
  })
})
