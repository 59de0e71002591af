import { afterEach, describe, expect, it } from 'vitest'
import { Gate } from '../../../src/gate/gate.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { eventually, type Setup, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let test: TestBroker | undefined
let clock: FakeClock

afterEach(async () => {
  await test?.close()
  test = undefined
})

async function start(rules: string, setup: Omit<Setup, 'gate'> = {}): Promise<TestBroker> {
  clock = new FakeClock(Date.now())
  test = await startBroker({
    ...setup,
    gate: await Gate.fromPolicy(`version: 1\nrules: ${rules}`, { clock }),
  })
  return test
}

const perClient = (exceeded: string) =>
  `[{ name: all, per: client, limit: 10/s burst 1, exceeded: ${exceeded} }]`

/** How a client goes before it comes back. */
const ways = ['dies', 'says goodbye', 'is taken over'] as const

const options = {
  clientId: 'z',
  will: { topic: 't', payload: Buffer.from('will'), qos: 0, retain: true },
} as const

/** Sends 1 to 4, goes, comes back and sends `new`; of these the first passes, and the others are held or superseded. */
async function comeBack(broker: TestBroker, way: (typeof ways)[number]): Promise<void> {
  const kept = (): number => {
    const { held, superseded } = broker.limits.stats()
    return held + superseded
  }
  const first = await broker.connectRaw(options)
  const texts = ['1', '2', '3', '4']
  const packets = texts.map(payload => first.publish('t', { payload, retain: true }))
  first.send(...packets, ...(way === 'says goodbye' ? [{ cmd: 'disconnect' } as const] : []))
  await eventually(() => expect(kept()).toBe(3))
  if (way === 'dies') first.socket.destroy()
  const second = await broker.connect(options)
  second.publish('t', 'new', { retain: true })
  await eventually(() => expect(kept()).toBe(way === 'says goodbye' ? 4 : 5))
  while (broker.limits.stats().held > 0) await clock.advanceAsync(100)
}

describe('a client that reconnects', () => {
  for (const exceeded of ['throttle', 'queue', '{ queue: { order: arrival } }', 'latest']) {
    it.each(ways)(
      `after it %s gets through its held messages, its will, then new messages: ${exceeded}`,
      async way => {
        const broker = await start(perClient(exceeded))
        const seen = await subscribeAll(await broker.connect({ clientId: 'watcher' }), 't')
        await comeBack(broker, way)
        await eventually(() => expect(seen.at(-1)?.text).toBe('new'))
        const held = ['2', '3', '4', ...(way === 'says goodbye' ? [] : ['will'])]
        expect(seen.map(({ text }) => text)).toEqual(['1', ...(exceeded === 'latest' ? [] : held), 'new'])
        const late = await subscribeAll(await broker.connect({ clientId: 'late' }), 't')
        await eventually(() => expect(late.map(({ text }) => text)).toEqual(['new']))
      },
    )
  }

  it('gets its SUBACK at once, even if messages of its last connection are held', async () => {
    const broker = await start(perClient('throttle'), {
      limiter: { maxHoldMs: 3_600_000 },
    })
    const first = await broker.connect({ clientId: 'z' })
    for (const text of ['1', '2']) first.publish('t', text)
    await eventually(() => expect(broker.limits.stats().held).toBe(1))
    first.stream.destroy()
    const second = await broker.connect({ clientId: 'z' })
    const granted = await second.subscribeAsync('other')
    expect(granted.map(({ qos }) => qos)).toEqual([0])
    expect(broker.limits.stats().held).toBe(1)
  })

  it('has one bound of held messages for all its connections', async () => {
    const broker = await start(perClient('throttle'), { limiter: { maxHeldPerSender: 10 } })
    for (let times = 0; times < 5; times++) {
      const client = await broker.connectRaw({ clientId: 'z' })
      client.send(...Array.from({ length: 8 }, () => client.publish('t')))
      const sent = 8 * (times + 1)
      await eventually(() => {
        const { held, overflowed } = broker.limits.stats()
        expect(held + overflowed).toBe(sent - 1)
      })
    }
    expect(broker.limits.stats()).toMatchObject({ held: 10, overflowed: 29 })
  })

  it('waits for its own will while the application’s hook decides about it', async () => {
    const broker = await start('[]')
    const seen = await subscribeAll(await broker.connect({ clientId: 'watcher' }), 't')
    broker.broker.authorizePublish = (_client, packet, callback) => {
      // The hook of an application that looks up a will for a while.
      if ((packet as { cmd?: string }).cmd !== 'publish') setTimeout(() => callback(null), 200)
      else callback(null)
    }
    const options = {
      clientId: 'z',
      will: { topic: 't', payload: Buffer.from('will'), qos: 0, retain: false },
    } as const
    const first = await broker.connect(options)
    await first.publishAsync('t', 'old', { qos: 1 })
    first.stream.destroy()
    const second = await broker.connect(options)
    await second.publishAsync('t', 'new', { qos: 1 })
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['old', 'will', 'new']))
  })

  it('publishes after a SUBSCRIBE that waits longer than its last connection', async () => {
    const broker = await start(
      '[{ name: subscribes, on: subscribe, per: client, limit: 1/s burst 1, exceeded: throttle }]',
    )
    let answerWill: (() => void) | undefined
    broker.broker.authorizePublish = (_client, packet, callback) => {
      if ((packet as { cmd?: string }).cmd === 'publish') callback(null)
      else answerWill = () => callback(null)
    }
    const first = await broker.connect(options)
    await first.subscribeAsync('a')
    first.stream.destroy()
    const second = await broker.connect(options)
    const subscribed = second.subscribeAsync('b')
    await eventually(() => expect([broker.limits.stats().held, typeof answerWill]).toEqual([1, 'function']))
    const published = second.publishAsync('t', 'new', { qos: 1 })
    answerWill!()
    await new Promise(resolve => setImmediate(resolve))
    clock.advance(1_000)
    await subscribed
    await published
    expect(broker.limits.stats().held).toBe(0)
  })

  it('waits a limited time for a hook that never answers about the will', async () => {
    const broker = await start('[]')
    broker.broker.authorizePublish = (_client, packet, callback) => {
      if ((packet as { cmd?: string }).cmd === 'publish') callback(null)
    }
    const options = {
      clientId: 'z',
      will: { topic: 't', payload: Buffer.from('will'), qos: 0, retain: false },
    } as const
    const first = await broker.connect(options)
    first.stream.destroy()
    const second = await broker.connect(options)
    const published = second.publishAsync('t', 'new', { qos: 1 })
    await eventually(() => expect(clock.pending).toBeGreaterThan(0))
    clock.advance(1_000)
    await published
    expect(broker.limits.stats().connections).toBe(1)
  })
})
