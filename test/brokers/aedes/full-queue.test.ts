import { afterEach, describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { eventually, type RawClient, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let test: TestBroker | undefined

afterEach(async () => {
  await test?.close()
  test = undefined
})

/** Publishes 200 messages at once: more than pass, and more than wait. */
function flood(client: RawClient): void {
  const payload = JSON.stringify({ priority: 'low', text: 'x'.repeat(400) })
  client.send(...Array.from({ length: 200 }, () => client.publish('t/low', { payload })))
}

describe('a client whose messages overflow the queue of a rule', () => {
  it.each(['drop', 'reject'] as const)(
    'is not read for a quarter of a second, then its urgent messages go first; others are read (then: %s)',
    async then => {
      const clock = new FakeClock(Date.now())
      const gate = new Gate({ clock })
      gate.use('t/#', limit({ name: 'r', rate: '10/s burst 10', exceeded: { queue: { max: 50, then } } }))
      test = await startBroker({ gate })
      const quietSeen = await subscribeAll(await test.connect(), 'quiet')
      const seen = await subscribeAll(await test.connect(), 't/#')
      const flooder = await test.connectRaw({ clientId: 'flooder' })
      const quiet = await test.connect()
      flood(flooder)
      await eventually(() => expect(test!.limits.stats().overflowed).toBeGreaterThanOrEqual(10))
      for (let index = 0; index < 20; index++) await quiet.publishAsync('quiet', String(index), { qos: 1 })
      const { overflowed } = test.limits.stats()

      flood(flooder)
      flooder.send(flooder.publish('t/urgent', { payload: '{"priority":"emergency"}' }))
      for (let index = 20; index < 40; index++) await quiet.publishAsync('quiet', String(index), { qos: 1 })
      await eventually(() => expect(quietSeen).toHaveLength(40))
      await eventually(() => expect(seen).toHaveLength(10))
      expect(test.limits.stats()).toMatchObject({ held: 50, overflowed })

      clock.advance(250)
      await eventually(() => expect(test!.limits.stats().overflowed).toBeGreaterThan(overflowed))
      // Turns of reading, with rests between them, and the limit's own rate.
      await eventually(() => {
        clock.advance(1)
        expect(seen.map(({ topic }) => topic)).toContain('t/urgent')
      })
      expect(test.limits.stats().held).toBeGreaterThan(0)
    },
  )

  it('is still read if pauses are disabled', async () => {
    const clock = new FakeClock(Date.now())
    const gate = new Gate({ clock })
    gate.use('t/#', limit({ name: 'r', rate: '10/s burst 10', exceeded: { queue: { max: 50 } } }))
    test = await startBroker({ gate, limiter: { dropGateMs: 0 } })
    const flooder = await test.connectRaw({ clientId: 'flooder' })
    flood(flooder)
    flood(flooder)
    await eventually(() => expect(test!.limits.stats().overflowed).toBe(340))
  })
})
