import { afterEach, describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { exempt } from '../../../src/chain/rules/exemption.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { eventually, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let test: TestBroker | undefined

afterEach(async () => {
  await test?.close()
  test = undefined
})

/** Has the broker's persistence answer some turns later, as one over a network does. */
function delayPersistence(broker: TestBroker, methods: readonly string[]): void {
  const { persistence } = broker.broker as unknown as {
    persistence: Record<string, (...args: unknown[]) => unknown>
  }
  for (const method of methods) {
    const own = persistence[method]!.bind(persistence)
    persistence[method] = async (...args: unknown[]) => {
      for (let turns = 0; turns < 5; turns++) await new Promise(resolve => setImmediate(resolve))
      return own(...args)
    }
  }
}

describe('messages of QoS 2 of which some are degraded', () => {
  for (const [name, methods] of [
    ['at once', []],
    ['later', ['subscriptionsByTopic']],
  ] as const) {
    it(`arrive in order, with a persistence that answers ${name}`, async () => {
      const gate = new Gate({ clock: new FakeClock(Date.now()) })
      gate.use(
        exempt({ when: { payload: { field: 'free', equals: true } } }),
        limit({ name: 'r', rate: '1/s burst 3', per: 'client', exceeded: 'degrade' }),
      )
      test = await startBroker({ gate })
      delayPersistence(test, methods)
      // At QoS 2 a subscriber hands a message on when it is released, and one of QoS 0 at once: not the order of arrival.
      const watcher = await test.connect({ clientId: 'watcher' })
      const seen = await subscribeAll(watcher, 't', 1)
      const publisher = await test.connect({ clientId: 'z' })
      const count = 40
      let acknowledged = 0
      for (let index = 0; index < count; index++) {
        const payload = JSON.stringify({ index, free: index % 3 === 0 })
        publisher.publish('t', payload, { qos: 2 }, error => {
          if (!error) acknowledged++
        })
      }
      await eventually(() => expect(acknowledged).toBe(count))
      await eventually(() => expect(seen).toHaveLength(count))
      const order = seen.map(({ text }) => (JSON.parse(text) as { index: number }).index)
      expect(order).toEqual(Array.from({ length: count }, (_, index) => index))
      expect(test.limits.stats().degraded).toBeGreaterThan(10)
    })
  }
})
