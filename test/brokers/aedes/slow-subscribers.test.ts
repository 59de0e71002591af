import type { MqttClient } from 'mqtt'
import { afterEach, describe, expect, it } from 'vitest'
import { eventually, type RawClient, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let running: TestBroker | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})

const FLOOD = 200
/** Kernel buffers may hold tens of megabytes before a socket takes nothing more; these are 300 MB. */
const MAX_FLOOD = 3_000
/** Messages to withhold from the frozen subscriber before a flood ends. */
const WITHHELD = 50
/** Messages aedes hands to subscribers at once, before it waits for one of them. */
const UNDER_WAY = 100
const PAYLOAD = Buffer.alloc(100_000)

async function freeze(test: TestBroker, clean: boolean, qos: 0 | 1): Promise<RawClient> {
  const frozen = await test.connectRaw({ clientId: 'frozen', clean })
  frozen.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 't/#', qos }] })
  await frozen.until('suback')
  frozen.socket.pause()
  return frozen
}

/** Publishes until the limiter has withheld messages, and returns how many were published. */
async function flood(
  test: TestBroker,
  publisher: MqttClient,
  topicOf: (i: number) => string,
): Promise<number> {
  let sent = 0
  while (test.limits.stats().frozen < WITHHELD && sent < MAX_FLOOD)
    await publisher.publishAsync(topicOf(sent++), PAYLOAD, { qos: 1 })
  return sent
}

describe('a subscriber that does not read', () => {
  it('delays no other subscriber by default, and its missed messages are counted', async () => {
    const test = await startBroker()
    running = test
    const frozen = await freeze(test, true, 0)
    const seen = await subscribeAll(await test.connect({ clientId: 'reads' }), '#')
    const publisher = await test.connect({ clientId: 'p' })
    const sent = await flood(test, publisher, () => 't/x')
    const quiet = await test.connect({ clientId: 'quiet' })
    for (let i = 0; i < 20; i++) await quiet.publishAsync('quiet', String(i), { qos: 1 })
    await eventually(() => expect(seen).toHaveLength(sent + 20))
    const { frozen: withheld } = test.limits.stats()
    expect(withheld).toBeGreaterThan(0)
    const unsent = (
      test.broker as unknown as { clients: Record<string, { conn: { writableLength: number } }> }
    ).clients.frozen!.conn.writableLength
    expect(unsent).toBeLessThan(262_144 + UNDER_WAY * PAYLOAD.length)
    frozen.socket.resume()
    await eventually(() =>
      expect(frozen.packets.filter(({ cmd }) => cmd === 'publish')).toHaveLength(sent - withheld),
    )
  })
  it('gets all messages of its session once and in order when it reads again', async () => {
    const test = await startBroker()
    running = test
    const frozen = await freeze(test, false, 1)
    const publisher = await test.connect({ clientId: 'p' })
    const sent = await flood(test, publisher, i => `t/${i}`)
    expect(test.limits.stats().frozen).toBeGreaterThan(0)
    const topics: string[] = []
    frozen.on('packet', packet => {
      if (packet.cmd !== 'publish') return
      topics.push(packet.topic)
      frozen.send({ cmd: 'puback', messageId: packet.messageId })
    })
    frozen.socket.resume()
    await publisher.publishAsync('t/last', 'x', { qos: 1 })
    await eventually(() => expect(topics).toHaveLength(sent + 1))
    expect(topics).toEqual([...Array.from({ length: sent }, (_, i) => `t/${i}`), 't/last'])
    await publisher.publishAsync('t/again', 'x', { qos: 1 })
    await eventually(() => expect(topics.at(-1)).toBe('t/again'))
  })
  it('delays others as in plain aedes if the bound is disabled', async () => {
    const test = await startBroker({ limiter: { maxUnsentBytes: 0 } })
    running = test
    const frozen = await freeze(test, true, 0)
    const seen = await subscribeAll(await test.connect({ clientId: 'reads' }), 't/#')
    const publisher = await test.connect({ clientId: 'p' })
    for (let i = 0; i < 20; i++) await publisher.publishAsync('t/x', 'x', { qos: 1 })
    await eventually(() => expect(seen).toHaveLength(20))
    expect(test.limits.stats().frozen).toBe(0)
    frozen.socket.destroy()
  })
  it('is left to aedes if its drainTimeout is short', async () => {
    const test = await startBroker({ aedes: { drainTimeout: 300 } })
    running = test
    await freeze(test, true, 0)
    const publisher = await test.connect({ clientId: 'p' })
    for (let i = 0; i < FLOOD; i++) publisher.publish('t/x', PAYLOAD)
    const { clients } = test.broker as unknown as { clients: Record<string, unknown> }
    await eventually(() => expect(clients.frozen).toBeUndefined())
    expect(test.limits.stats().frozen).toBe(0)
  })
})
