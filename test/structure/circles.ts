/** The circles of a graph, each once, as `a → b → a`. */
export function findCircles(
  nodes: readonly string[],
  next: (node: string) => readonly string[],
): readonly string[] {
  const circles = new Set<string>()
  const done = new Set<string>()
  const walk = (node: string, way: readonly string[]): void => {
    const start = way.indexOf(node)
    if (start >= 0) {
      circles.add(describeRound(way.slice(start)))
      return
    }
    if (done.has(node)) return
    for (const other of next(node)) walk(other, [...way, node])
    done.add(node)
  }
  for (const node of nodes) walk(node, [])
  return [...circles].sort()
}

/** Turned so that the same round reads the same wherever it was entered. */
function describeRound(round: readonly string[]): string {
  const first = round.indexOf([...round].sort()[0] ?? '')
  return [...round.slice(first), ...round.slice(0, first), round[first]].join(' → ')
}
