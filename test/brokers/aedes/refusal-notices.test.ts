import { afterEach, describe, expect, it } from 'vitest'
import { Gate, limit, PolicyError } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { eventually, type Setup, startBroker, subscribeAll, type TestBroker } from './harness.ts'

const NOTICES = '$topicgate/{client}/limits'

let running: TestBroker | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})
async function start(setup: Setup = {}, clock?: FakeClock): Promise<TestBroker> {
  const gate = new Gate(clock && { clock }).use(
    limit({ name: 'uplink', rate: '1/hour', per: 'client', exceeded: 'drop' }),
    limit({ name: 'down', on: 'deliver', rate: '1/hour', exceeded: 'drop', per: 'global' }),
  )
  running = await startBroker({ gate, ...setup, limiter: { notices: NOTICES, ...setup.limiter } })
  return running
}

describe('notices', () => {
  it.each([0, 1, 2] as const)(
    'tell a client refused at QoS %i why, once a second, and are met by no limit',
    async qos => {
      const clock = new FakeClock()
      // Whoever is not read for a while would wait for this clock.
      const test = await start({ limiter: { dropGateMs: 0 } }, clock)
      const client = await test.connect({ clientId: 'd1' })
      const seen = await subscribeAll(client, '$topicgate/d1/limits')
      for (let i = 0; i < 30; i++) await client.publishAsync('t', 'x', { qos })
      await eventually(() => expect(test.limits.stats().dropped).toBe(29))
      await eventually(() => expect(seen).toHaveLength(1))
      expect(JSON.parse(seen[0]!.text)).toEqual({
        rule: 'uplink',
        limit: 1,
        remaining: 0,
        retryAfterMs: expect.closeTo(3_600_000, -5),
        text: expect.stringMatching(
          /^rate limit exceeded: 1 messages per 60 min, 0 left; retry in 60 min\.$/,
        ),
      })
      clock.set(clock.now() + 1_000)
      await client.publishAsync('t', 'x', { qos })
      await eventually(() => expect(seen).toHaveLength(2))
      expect(test.limits.stats()).toMatchObject({ notices: 2, deliveriesRefused: 0 })
    },
  )

  it('are received by their own client only: any other filter that matches them is refused', async () => {
    const test = await start()
    const raw = await test.connectRaw({ clientId: 'spy' })
    const filters = [
      '$topicgate/d1/limits',
      '$topicgate/+/limits',
      '$topicgate/#',
      '$topicgate/d1/+',
      '$topicgate/spy/limits',
      '$topicgate/spy/other',
      '#',
    ]
    raw.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: filters.map(topic => ({ topic, qos: 0 as const })),
    })
    const suback = await raw.until('suback')
    expect((suback as { granted: unknown }).granted).toEqual([128, 128, 128, 128, 0, 0, 0])
    const client = await test.connect({ clientId: 'd1' })
    const seen = await subscribeAll(client, '$topicgate/d1/limits')
    for (let i = 0; i < 3; i++) await client.publishAsync('t', 'x', { qos: 1 })
    await eventually(() => expect(seen).toHaveLength(1))
    await raw.roundTrip()
    const told = raw.packets.filter(
      packet => packet.cmd === 'publish' && packet.topic.startsWith('$topicgate'),
    )
    expect(told).toEqual([])
  })

  it('cannot be forged, not even by a will: publishes of clients there are discarded', async () => {
    const test = await start()
    const client = await test.connect({ clientId: 'd1' })
    const seen = await subscribeAll(client, '$topicgate/d1/limits')
    const will = {
      topic: '$topicgate/d1/limits',
      payload: Buffer.from('will'),
      qos: 1 as const,
      retain: true,
    }
    const forger = await test.connect({ clientId: 'forger', will })
    await forger.publishAsync('$topicgate/d1/limits', 'x', { qos: 1, retain: true })
    forger.stream.destroy()
    await eventually(() => expect(test.limits.stats().dropped).toBe(2))
    // What was delivered before this is acknowledged has arrived.
    await client.publishAsync('other', 'x', { qos: 1 })
    expect(seen).toEqual([])
  })

  it('are not sent without a subscription, nor to client ids that cannot be a topic level', async () => {
    const test = await start()
    const client = await test.connect({ clientId: 'a/b' })
    const granted = await client.subscribeAsync('$topicgate/a/b/limits')
    expect(granted.map(({ qos }) => qos)).toEqual([0])
    for (let i = 0; i < 5; i++) await client.publishAsync('t', 'x', { qos: 1 })
    expect(test.limits.stats()).toMatchObject({ dropped: 4, notices: 0 })
  })

  it.each([
    'limits/{client}',
    '$limits',
    '$a/{client}/{client}',
    '$a/x{client}',
    '$SYS/{client}',
    '$a/+/{client}',
  ])('on %s are refused when the limiter is attached', async notices => {
    await expect(startBroker({ limiter: { notices } })).rejects.toThrow(PolicyError)
  })
})
