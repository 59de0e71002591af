import { afterEach, describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { eventually, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let test: TestBroker | undefined

afterEach(async () => {
  await test?.close()
  test = undefined
})

describe('held messages of closed connections', () => {
  it('make room for a connected client, and no acknowledged message is lost', async () => {
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
