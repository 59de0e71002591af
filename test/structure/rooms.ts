/**
 * The rooms of the house and the arrows between them: which rooms a room may import, besides itself. Types count
 * like values. ARCHITECTURE.md tells why.
 */
export const ROOMS: Readonly<Record<string, readonly string[]>> = {
  ground: [],
  algorithms: ['ground'],
  topic: ['ground'],
  conditions: ['ground'],
  outcomes: ['conditions', 'topic', 'ground'],
  stores: ['algorithms', 'ground'],
  chain: ['stores', 'conditions', 'outcomes', 'algorithms', 'topic', 'ground'],
  adapt: ['chain', 'algorithms', 'ground'],
  policy: ['chain', 'conditions', 'adapt', 'outcomes', 'stores', 'topic', 'algorithms', 'ground'],
  // The policy room (YAML, schema) is only loaded by those who use it: see LAZY_ARROWS.
  gate: ['chain', 'topic', 'stores', 'outcomes', 'algorithms', 'ground'],
  guard: ['gate', 'outcomes', 'ground'],
  publish: ['gate', 'chain', 'outcomes', 'topic', 'ground'],
  insight: ['gate', 'chain', 'ground'],
  admin: ['gate', 'insight', 'policy', 'chain', 'stores', 'topic', 'ground'],
  index: [
    ...['ground', 'algorithms', 'topic', 'conditions', 'outcomes', 'stores', 'chain', 'adapt', 'policy'],
    ...['gate', 'guard', 'insight', 'admin'],
  ],
  brokers: ['index', 'guard', 'publish', 'outcomes', 'conditions', 'ground'],
  cli: ['index', 'guard', 'insight', 'policy', 'brokers', 'conditions', 'ground'],
}

/** Arrows that only a dynamic `import()`, or a type, may take: nothing of them is loaded before it is asked for. */
export const LAZY_ARROWS: ReadonlySet<string> = new Set(['gate → policy'])

const GROUND_FLOOR =
  /^src\/(message|maybe-promise|decision|clock|errors|bounds|bounded-part|units|logger|option-names|package-files)\.ts$/
const OWN_FILE = /^src\/(gate|guard|index)(\.ts$|\/)/

/** The room a file of src or brokers belongs to; `undefined` where no room is known. */
export function roomOf(path: string): string | undefined {
  if (GROUND_FLOOR.test(path)) return 'ground'
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
