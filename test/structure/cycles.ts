/** Returns the cycles of a graph, each once, as `a → b → a`. */
export function findCycles(
  nodes: readonly string[],
  next: (node: string) => readonly string[],
): readonly string[] {
  const cycles = new Set<string>()
  const done = new Set<string>()
  const walk = (node: string, path: readonly string[]): void => {
    const start = path.indexOf(node)
    if (start >= 0) {
      cycles.add(formatCycle(path.slice(start)))
      return
    }
    if (done.has(node)) return
    for (const other of next(node)) walk(other, [...path, node])
    done.add(node)
  }
  for (const node of nodes) walk(node, [])
  return [...cycles].sort()
}

/** Formats a cycle from its smallest name, so that it reads the same from any starting point. */
function formatCycle(cycle: readonly string[]): string {
  const first = cycle.indexOf([...cycle].sort()[0] ?? '')
  return [...cycle.slice(first), ...cycle.slice(0, first), cycle[first]].join(' → ')
}
