import { describe, expect, it } from 'vitest'
import { type Linked, LinkedList } from '../../../src/core/linked-list.ts'

class Item implements Linked<Item> {
  previous: Item | undefined
  next: Item | undefined
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

function createList(names: string) {
  const list = new LinkedList<Item>()
  const items = new Map([...names].map(name => [name, new Item(name)]))
  for (const item of items.values()) list.append(item)
  return { list, item: (name: string) => items.get(name)! }
}

/** Returns the names in order, after a check that the links agree in both directions. */
function namesOf(list: LinkedList<Item>): string {
  let names = ''
  let backwards = ''
  for (let item = list.first; item; item = item.next) names += item.name
  for (let item = list.last; item; item = item.previous) backwards = item.name + backwards
  expect(backwards).toBe(names)
  expect(list.count).toBe(names.length)
  return names
}

describe('a linked list', () => {
  it('keeps entries in the order in which they are appended', () => {
    expect(namesOf(createList('abc').list)).toBe('abc')
    expect(namesOf(createList('').list)).toBe('')
  })

  it('puts a prepended entry first', () => {
    const { list } = createList('ab')
    list.prepend(new Item('x'))
    expect(namesOf(list)).toBe('xab')
    const empty = createList('').list
    empty.prepend(new Item('x'))
    expect(namesOf(empty)).toBe('x')
  })

  it.each([
    ['a', 'bc'],
    ['b', 'ac'],
    ['c', 'ab'],
  ])('removes %s from abc', (name, rest) => {
    const { list, item } = createList('abc')
    list.remove(item(name))
    expect(namesOf(list)).toBe(rest)
    list.append(item(name))
    expect(namesOf(list)).toBe(rest + name)
  })

  it('is empty after its only entry is removed', () => {
    const { list, item } = createList('a')
    list.remove(item('a'))
    expect(namesOf(list)).toBe('')
    expect(list.first).toBeUndefined()
  })

  it.each([
    ['a', 'xbc'],
    ['b', 'axc'],
    ['c', 'abx'],
  ])('replaces %s in abc at its position', (name, replaced) => {
    const { list, item } = createList('abc')
    list.replace(item(name), new Item('x'))
    expect(namesOf(list)).toBe(replaced)
  })
})
