import { expect, it } from 'vitest'
import { random } from './random.ts'

it('the same seed gives the same sequence, another seed another one', () => {
  const sequence = (seed: number): number[] => Array.from({ length: 5 }, random(seed).next)
  expect(sequence(7)).toEqual(sequence(7))
  expect(sequence(7)).not.toEqual(sequence(8))
})

it('whole numbers include both ends and nothing beyond', () => {
  const chance = random(1)
  const drawn = new Set(Array.from({ length: 200 }, () => chance.int(-1, 2)))
  expect([...drawn].sort((a, b) => a - b)).toEqual([-1, 0, 1, 2])
})

it('shuffle keeps all items, and pick returns one of them', () => {
  const chance = random(2)
  const items = Object.freeze([1, 2, 3, 4, 5, 6, 7, 8])
  const shuffled = chance.shuffle(items)
  expect(shuffled).not.toEqual(items)
  expect([...shuffled].sort()).toEqual(items)
  expect(items).toContain(chance.pick(items))
  expect(() => chance.pick([])).toThrow('nothing to pick from')
})
