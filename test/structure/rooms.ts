/**
 * The rooms of the house and the arrows between them: which rooms a room may import, besides itself. Types count
 * like values. ARCHITECTURE.md tells why.
 */
export const ROOMS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  algorithms: ['core'],
  topic: ['core'],
  conditions: ['core'],
  outcomes: ['conditions', 'topic', 'core'],
  stores: ['algorithms', 'core'],
  chain: ['stores', 'conditions', 'outcomes', 'algorithms', 'topic', 'core'],
  adapt: ['chain', 'algorithms', 'core'],
  policy: ['chain', 'conditions', 'adapt', 'outcomes', 'stores', 'topic', 'algorithms', 'core'],
  // The policy room (YAML, schema) is only loaded by those who use it: see LAZY_ARROWS.
  gate: ['chain', 'topic', 'stores', 'outcomes', 'algorithms', 'core'],
  guard: ['gate', 'outcomes', 'core'],
  publish: ['guard', 'gate', 'chain', 'outcomes', 'topic', 'core'],
  analytics: ['gate', 'chain', 'core'],
  metrics: ['analytics', 'gate', 'chain', 'core'],
  admin: ['gate', 'analytics', 'metrics', 'policy', 'chain', 'stores', 'topic', 'core'],
  index: [
    ...['core', 'algorithms', 'topic', 'conditions', 'outcomes', 'stores', 'chain', 'adapt', 'policy'],
    ...['gate', 'guard', 'analytics', 'metrics', 'admin'],
  ],
  brokers: ['index', 'guard', 'publish', 'outcomes', 'conditions', 'core'],
  cli: ['index', 'guard', 'analytics', 'metrics', 'policy', 'brokers', 'conditions', 'core'],
}

/** Arrows that only a dynamic `import()`, or a type, may take: nothing of them is loaded before it is asked for. */
export const LAZY_ARROWS: ReadonlySet<string> = new Set(['gate → policy'])

const OWN_FILE = /^src\/(index)\.ts$/

/** The room a file of src or brokers belongs to; `undefined` where no room is known. */
export function roomOf(path: string): string | undefined {
  if (path.startsWith('brokers/')) return 'brokers'
  const name = path.match(OWN_FILE)?.[1] ?? path.match(/^src\/([^/]+)\//)?.[1]
  return name !== undefined && Object.hasOwn(ROOMS, name) ? name : undefined
}

/** What a room may import, in words. */
export function describeArrows(room: string): string {
  const allowed = ROOMS[room] ?? []
  const lazy = [...LAZY_ARROWS]
    .filter(arrow => arrow.startsWith(`${room} → `))
    .map(arrow => `${arrow.split(' → ')[1]} (by import())`)
  const all = [...allowed, ...lazy]
  return all.length > 0 ? `${room} may import ${all.join(', ')}` : `${room} may import nothing of the project`
}

/** Packages that only brokers and commands may load; the core knows no broker, no database, no terminal. */
export const EDGE_PACKAGES: ReadonlySet<string> = new Set([
  ...['mqtt', 'mqtt-packet', 'aedes', 'nats', '@nats-io/transport-node', '@nats-io/jetstream'],
  ...['ioredis', 'better-sqlite3', 'ws', 'commander'],
])

/** Packages the core may name in types only; the value is injected. */
export const TYPE_ONLY_PACKAGES: ReadonlySet<string> = new Set(['pino'])
