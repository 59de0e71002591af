const KEYWORDS = new Set(['and', 'or', 'unless', 'bool', 'offset', 'inf', 'nan', 'start', 'end'])

/** Returns the names of the metrics and recorded series in a valid PromQL expression. */
export function findMetricNames(query: string): readonly string[] {
  const bare = query
    .replaceAll(/"(?:[^"\\]|\\.)*"/g, '')
    .replaceAll(/\{[^}]*\}|\[[^\]]*\]/g, '')
    .replaceAll(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, '')
  return [...bare.matchAll(/(?<![\w.:])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])/g)]
    .map(([name]) => name)
    .filter(name => !KEYWORDS.has(name.toLowerCase()))
}

/** Returns the labels by which a PromQL expression groups or matches. */
export function findGroupingLabels(query: string): readonly string[] {
  return [...query.matchAll(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g)].flatMap(
    ([, list = '']) => list.split(',').flatMap(label => label.trim() || []),
  )
}
