import { expect, it } from 'vitest'
import { KeyLock } from '../../../../src/stores/nats-kv/key-lock.ts'
import { random } from '../../../support/random.ts'

it('work on the same keys runs in order of arrival, other work runs at once, and nothing is left', async () => {
  const dice = random(11)
  const turns = new KeyLock()
  const busy = new Set<string>()
  const order = new Map<string, number[]>()
  let most = 0
  const work = Array.from({ length: 300 }, (_, place) => {
    const keys = dice.shuffle(['a', 'b', 'c', 'd', 'e', 'f']).slice(0, dice.int(0, 3))
    return turns.run(keys, async () => {
      for (const key of keys) {
        expect(busy.has(key), 'two at the same key').toBe(false)
        busy.add(key)
        order.set(key, [...(order.get(key) ?? []), place])
      }
      most = Math.max(most, busy.size)
      for (let pauses = dice.int(0, 5); pauses > 0; pauses--) await Promise.resolve()
      for (const key of keys) busy.delete(key)
      if (dice.chance(0.2)) throw new Error('mine')
    })
  })
  const failed = (await Promise.allSettled(work)).filter(({ status }) => status === 'rejected')
  expect(failed.length).toBeGreaterThan(20)
  for (const places of order.values()) expect(places).toEqual([...places].sort((a, b) => a - b))
  expect(most).toBeGreaterThan(3)
  expect(turns.size).toBe(0)
})
