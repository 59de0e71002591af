import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { limitNats } from '../../../brokers/nats/index.ts'
import { Gate, limit } from '../../../src/index.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import { GENERATIONS, type TestConnection } from './generations.ts'

let server: NatsServer
beforeAll(async () => {
  server = await startNats()
})
afterAll(() => server.stop())

const natsGate = (...rules: Parameters<Gate['use']>[1][]): Gate => new Gate({ dialect: 'nats' }).use(...rules)

describe.each(GENERATIONS)('subscriptions of $name', ({ connect, headers }) => {
  let nc: TestConnection
  let sender: TestConnection
  beforeEach(async () => {
    nc = await connect(server.url)
    sender = await connect(server.url)
  })
  afterEach(async () => {
    await nc.close()
    await sender.close()
  })

  async function publish(subject: string, count: number, payload = 'x'): Promise<void> {
    for (let index = 0; index < count; index++)
      sender.publish(subject, new TextEncoder().encode(`${payload}${index}`))
    await sender.flush()
    await nc.flush()
  }

  it('hand over what may pass and drop the rest', async () => {
    const gate = natsGate(limit({ name: 'a', rate: '5/min', per: 'topic', exceeded: 'drop' }))
    const limits = limitNats(gate)
    const seen: string[] = []
    limits.subscribe(nc, 'a.>', { callback: message => seen.push(message.subject) })
    await nc.flush()
    await publish('a.one', 8)
    await publish('a.two', 3)
    await until(() => limits.stats().received === 11)
    expect(seen).toEqual([...Array(5).fill('a.one'), ...Array(3).fill('a.two')])
    expect(limits.stats()).toMatchObject({ delivered: 8, dropped: 3, held: 0 })
    await limits.close()
  })

  it('hold what is throttled, in the order of its sender, and nobody else', async () => {
    const gate = natsGate(limit({ name: 'a', rate: '50/s burst 1', per: 'topic', exceeded: 'throttle' }))
    const limits = limitNats(gate, { headers })
    const seen: string[] = []
    limits.subscribe(nc, 'a.>', {
      callback: message => void seen.push(`${message.subject} ${Buffer.from(message.data)}`),
    })
    await nc.flush()
    await publish('a.noisy', 10)
    await publish('a.quiet', 1)
    await until(() => seen.length === 11)
    expect(seen.indexOf('a.quiet x0')).toBeLessThan(5)
    expect(seen.filter(text => text.includes('noisy'))).toEqual(
      Array.from({ length: 10 }, (_, index) => `a.noisy x${index}`),
    )
    await limits.close()
  })
})
