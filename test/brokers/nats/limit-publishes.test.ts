import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { limitPublishes, type PublishingConnection } from '../../../brokers/nats/index.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { GENERATIONS, type TestConnection } from './client-versions.ts'

let server: NatsServer
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

/** Arguments of `publish` that are no message. */
const WRONG: readonly (readonly [name: string, ...args: readonly unknown[]])[] = [
  ['an empty subject', '', 'x'],
  ['no subject', undefined, 'x'],
  ['a space in the subject', 'a b', 'x'],
  ['a command in the subject', 'a 0\r\n\r\nPUB evil 1', 'x'],
  ['an empty token', 'a..b', 'x'],
  ['a wildcard', 'a.*', 'x'],
  ['a wildcard for the rest', 'a.>', 'x'],
  ['a payload that is a number', 'a', 7],
  ['a payload that is too large', 'a', 'x'.repeat(2 << 20)],
  ['headers that are a number', 'a', 'x', { headers: 5 }],
  ['a message id of two lines', 'a', 'x', { msgID: 'q\r\nz' }],
  ['a reply subject with a command', 'a', 'x', { reply: 'b 0\r\n\r\nPUB evil 1' }],
  ['a priority that does not exist', 'a', 'x', { priority: 'urgent' }],
]

describe.each(GENERATIONS)('a limited publisher of $name', generation => {
  const publisherOf = (nc: TestConnection, rate = '1000/s burst 1000') =>
    limitPublishes(nc as unknown as PublishingConnection, { rate }, { window: 2 })

  it.each(WRONG)('answers %s with failed, and goes on', async (_name, ...args) => {
    const nc = await generation.connect(server.url)
    const publisher = publisherOf(nc)
    const publish = publisher.publish as (...args: readonly unknown[]) => ReturnType<typeof publisher.publish>
    for (let count = 0; count < 3; count++)
      expect(await publish(...args)).toMatchObject({
        outcome: 'failed',
        attempts: 0,
        error: expect.any(Error),
      })
    expect(publisher.stats()).toMatchObject({ failed: 3, waiting: 0, waitingBytes: 0, underWay: 0 })
    expect(await publisher.publish('fine', 'x')).toMatchObject({ outcome: 'sent' })
    await nc.close()
  })

  it.each(['close', 'drain'] as const)('settles every message when its connection ends: %s', async how => {
    const nc = await generation.connect(server.url)
    const publisher = publisherOf(nc, '1000/s burst 10')
    const all = Array.from({ length: 60 }, (_, index) => publisher.publish('a', String(index)))
    await nc[how]()
    expect(await publisher.flush()).toBe(true)
    for (const { outcome, why } of await Promise.all(all))
      expect(['sent', 'failed', 'closed']).toContain(why ?? outcome)
    expect(await publisher.publish('a', 'late')).toMatchObject({ outcome: 'dropped', why: 'closed' })
    publisher.close()
  })
})
