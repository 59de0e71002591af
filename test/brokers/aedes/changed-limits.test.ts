import { afterEach, describe, expect, it } from 'vitest'
import { Gate } from '../../../src/gate/gate.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { eventually, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let test: TestBroker | undefined

afterEach(async () => {
  await test?.close()
  test = undefined
})

const policy = (limit: string, exceeded: string) =>
  `version: 1\nrules: [{ name: r, topic: "t/#", per: client, ${limit}, exceeded: ${exceeded} }]`

const changes: Record<string, (gate: Gate, exceeded: string) => unknown> = {
  'a higher quota': (gate, exceeded) => gate.apply(policy('quota: 1000/day', exceeded)),
  'a policy without the rule': gate => gate.apply('version: 1\nrules: []'),
  'an unlimited override': gate => gate.overrides.add({ client: 'z', limit: 'unlimited', reason: 'test' }),
  'a run-time exemption': gate => gate.exemptions.add({ name: 'x', clients: ['z'], reason: 'test' }),
}

describe('messages that are held when the limits change', () => {
  for (const [name, change] of Object.entries(changes)) {
    it(`pass at once, acknowledged and in order: ${name}`, async () => {
      const clock = new FakeClock(Date.UTC(2026, 0, 1))
      const gate = await Gate.fromPolicy(policy('quota: 3/day', 'throttle'), { clock })
      test = await startBroker({ gate })
      const seen = await subscribeAll(await test.connect(), 't/#', 1)
      const client = await test.connect({ clientId: 'z' })
      let acknowledged = 0
      for (let index = 0; index < 10; index++) {
        client.publish('t/a', String(index), { qos: 1 }, error => {
          if (!error) acknowledged++
        })
      }
      await eventually(() => expect(test!.limits.stats().held).toBe(7))
      await eventually(() => expect(acknowledged).toBe(3))
      await change(gate, 'throttle')
      await eventually(() => {
        clock.advance(1)
        expect(acknowledged).toBe(10)
      })
      await eventually(() => expect(seen).toHaveLength(10))
      expect(seen.map(({ text }) => text)).toEqual(Array.from({ length: 10 }, (_, index) => String(index)))
      expect(test.limits.stats()).toMatchObject({ held: 0, overflowed: 0, dropped: 0 })
    })
  }
})
