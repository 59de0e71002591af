import { afterEach, describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/limit.ts'
import { Gate } from '../../../src/gate.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { eventually, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let test: TestBroker | undefined

afterEach(async () => {
  await test?.close()
  test = undefined
})

describe('a client whose messages overflow the queue of a rule', () => {
  it('is read no further until half of those that wait have gone; others are', async () => {
    const clock = new FakeClock(Date.now())
    const gate = new Gate({ clock })
    gate.use('t/#', limit({ name: 'r', rate: '10/s burst 1', exceeded: { queue: { max: 100 } } }))
    test = await startBroker({ gate })
    const seen = await subscribeAll(await test.connect(), 'quiet')
    const flooder = await test.connectRaw({ clientId: 'flooder' })
    const large = Buffer.alloc(1_000)
    for (let times = 0; times < 50; times++) {
      flooder.send(...Array.from({ length: 100 }, () => flooder.publish('t/x', { payload: large })))
    }
    await eventually(() => expect(test!.limits.stats().overflowed).toBeGreaterThan(0))
    const quiet = await test.connect()
    for (let index = 0; index < 20; index++) await quiet.publishAsync('quiet', String(index), { qos: 1 })
    await eventually(() => expect(seen).toHaveLength(20))
    // One more chunk of a socket may have been read: 64 KiB.
    const decided = test.limits.stats().overflowed
    expect(decided).toBeLessThan(300)
    expect(test.limits.stats().held).toBe(100)
    await clock.advanceAsync(4_000)
    await quiet.publishAsync('quiet', 'again', { qos: 1 })
    expect(test.limits.stats().overflowed).toBe(decided)
    await clock.advanceAsync(2_000)
    await eventually(() => expect(test!.limits.stats().overflowed).toBeGreaterThan(decided))
  })
})

describe('room that clients which have gone still hold', () => {
  it('is given up to one that needs it: nothing acknowledged is lost', async () => {
    const clock = new FakeClock(Date.now())
    const gate = new Gate({ clock })
    gate.use(limit({ name: 'r', rate: '10/s burst 5', per: 'client', exceeded: 'throttle' }))
    test = await startBroker({ gate, limiter: { maxHeldTotal: 200 } })
    for (let index = 0; index < 8; index++) {
      const attacker = await test.connectRaw({ clientId: `attacker-${index}` })
      attacker.send(...Array.from({ length: 100 }, () => attacker.publish('t')))
      await eventually(() => {
        const { held, overflowed } = test!.limits.stats()
        expect(held + overflowed).toBe(95 * (index + 1))
      })
      attacker.socket.destroy()
    }
    expect(test.limits.stats().held).toBe(200)
    const seen = await subscribeAll(await test.connect({ clientId: 'watcher' }), 'honest', 1)
    const honest = await test.connect({ clientId: 'honest' })
    let acknowledged = 0
    for (let index = 0; index < 30; index++) {
      honest.publish('honest', String(index), { qos: 1 }, error => {
        if (!error) acknowledged++
      })
    }
    await eventually(() => expect(acknowledged).toBe(5))
    await eventually(() => {
      clock.advance(100)
      expect(acknowledged).toBe(30)
    })
    await eventually(() => expect(seen).toHaveLength(30))
    expect(seen.map(({ text }) => Number(text))).toEqual(Array.from({ length: 30 }, (_, index) => index))
  })
})
