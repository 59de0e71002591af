import { describe, expect, it } from 'vitest'
import { HeavyHitters } from '../../../src/cli/heavy-hitters.ts'
import { fc } from './properties.ts'

describe('HeavyHitters', () => {
  it('is exact while there is room for all', () => {
    const hitters = new HeavyHitters(3)
    for (const name of 'abacabc') hitters.add(name)
    expect(hitters.top(2)).toEqual([
      { name: 'a', count: 3 },
      { name: 'b', count: 2 },
    ])
    expect(hitters.errorAtMost).toBe(0)
  })

  it('keeps whoever came more than its share, whatever else came, and is never too high', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.constantFrom(...'abcdefghij')),
        (room, names) => {
          const hitters = new HeavyHitters(room)
          for (const name of names) hitters.add(name)
          const found = new Map(hitters.top(room + 1).map(({ name, count }) => [name, count]))
          expect(found.size).toBeLessThanOrEqual(room)
          expect(hitters.errorAtMost).toBeLessThanOrEqual(names.length / (room + 1))
          for (const name of new Set(names)) {
            const truly = names.filter(other => other === name).length
            const counted = found.get(name) ?? 0
            expect(counted).toBeLessThanOrEqual(truly)
            expect(counted).toBeGreaterThanOrEqual(truly - hitters.errorAtMost)
          }
        },
      ),
    )
  })
})
