import type { Random } from '../support/random.ts'

/** Groups of names in which each pair of names is together at least once. */
export function groupsOf(names: readonly string[], size: number, random: Random): readonly string[][] {
  const open = new Set<string>()
  const pairOf = (a: string, b: string): string => (a < b ? `${a}\n${b}` : `${b}\n${a}`)
  for (const [index, name] of names.entries()) {
    for (const other of names.slice(index + 1)) open.add(pairOf(name, other))
  }
  const groups: string[][] = []
  for (const pair of random.shuffle([...open])) {
    if (!open.has(pair)) continue
    const group = pair.split('\n')
    while (group.length < size) {
      const gain = (name: string): number => group.filter(each => open.has(pairOf(each, name))).length
      const rest = random.shuffle(names.filter(name => !group.includes(name)))
      const best = rest.toSorted((a, b) => gain(b) - gain(a))[0]
      if (best === undefined) break
      group.push(best)
    }
    for (const [index, name] of group.entries()) {
      for (const other of group.slice(index + 1)) open.delete(pairOf(name, other))
    }
    groups.push(group)
  }
  return groups
}
