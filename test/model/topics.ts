/** Values of `{name}` levels if the pattern matches the topic; undefined if it does not. MQTT only. */
export function matchTopic(pattern: string, topic: string): ReadonlyMap<string, string> | undefined {
  const levels = topic.split('/')
  const wanted = pattern.split('/')
  const captures = new Map<string, string>()
  if (topic === '' || (topic.startsWith('$') && /^[#+{]/.test(pattern))) return undefined
  for (const [index, want] of wanted.entries()) {
    if (want === '#') return captures
    const level = levels[index]
    if (level === undefined) return undefined
    if (want.startsWith('{')) captures.set(want.slice(1, -1), level)
    else if (want !== '+' && want !== level) return undefined
  }
  return levels.length === wanted.length ? captures : undefined
}
