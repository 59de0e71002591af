/**
 * Modules and the modules they may import, besides themselves. Types count
 * like values. ARCHITECTURE.md gives the reasons.
 */
export const MODULES: Readonly<Record<string, readonly string[]>> = {
  core: [],
  algorithms: ['core'],
  topic: ['core'],
  conditions: ['core'],
  outcomes: ['conditions', 'topic', 'core'],
  stores: ['algorithms', 'core'],
  chain: ['stores', 'conditions', 'outcomes', 'algorithms', 'topic', 'core'],
  adaptive: ['chain', 'algorithms', 'core'],
  policy: ['chain', 'conditions', 'adaptive', 'outcomes', 'stores', 'topic', 'algorithms', 'core'],
  // The policy module (YAML, schema) is loaded only on use: see LAZY_DEPENDENCIES.
  gate: ['chain', 'topic', 'stores', 'outcomes', 'algorithms', 'core'],
  guard: ['gate', 'outcomes', 'core'],
  'broker-support': ['gate', 'chain', 'outcomes', 'conditions', 'core'],
  gateway: ['broker-support', 'guard', 'gate', 'core'],
  publish: ['broker-support', 'guard', 'gate', 'chain', 'outcomes', 'topic', 'core'],
  analytics: ['gate', 'chain', 'outcomes', 'core'],
  metrics: ['analytics', 'gate', 'chain', 'outcomes', 'core'],
  admin: [
    ...[
      'gate',
      'analytics',
      'metrics',
      'policy',
      'chain',
      'outcomes',
      'stores',
      'algorithms',
      'conditions',
      'topic',
      'core',
    ],
  ],
  'mqtt-auth': ['topic', 'core'],
  // Runs in browsers; built into dist/ui.
  dashboard: ['admin'],
  index: [
    ...['core', 'algorithms', 'topic', 'conditions', 'outcomes', 'stores', 'chain', 'adaptive', 'policy'],
    ...['gate', 'guard', 'analytics', 'metrics', 'admin', 'broker-support'],
  ],
  brokers: [
    ...[
      'broker-support',
      'gateway',
      'guard',
      'publish',
      'gate',
      'chain',
      'outcomes',
      'conditions',
      'topic',
      'core',
    ],
  ],
  cli: [
    'index',
    'admin',
    'guard',
    'analytics',
    'metrics',
    'policy',
    'mqtt-auth',
    'brokers',
    'broker-support',
    'stores',
    'conditions',
    'topic',
    'core',
  ],
}

/** Dependencies allowed only as a dynamic `import()` or a type, so that they are loaded on first use. */
export const LAZY_DEPENDENCIES: ReadonlySet<string> = new Set(['gate → policy'])

const OWN_FILE = /^src\/(index)\.ts$/

/** Returns the module of a file in src or brokers; undefined if there is none. */
export function moduleOf(path: string): string | undefined {
  if (path.startsWith('brokers/')) return 'brokers'
  const name = path.match(OWN_FILE)?.[1] ?? path.match(/^src\/([^/]+)\//)?.[1]
  return name !== undefined && Object.hasOwn(MODULES, name) ? name : undefined
}

/** Describes the imports a module may have. */
export function describeDependencies(module: string): string {
  const allowed = MODULES[module] ?? []
  const lazy = [...LAZY_DEPENDENCIES]
    .filter(dependency => dependency.startsWith(`${module} → `))
    .map(dependency => `${dependency.split(' → ')[1]} (by import())`)
  const all = [...allowed, ...lazy]
  return all.length > 0 ? `${module} may import ${all.join(', ')}` : `${module} may import no other module`
}

/** Packages that only brokers and commands may load: brokers, clients, databases, terminals. */
export const OUTER_PACKAGES: ReadonlySet<string> = new Set([
  ...['mqtt', 'mqtt-packet', 'aedes', 'nats', '@nats-io/transport-node', '@nats-io/jetstream'],
  ...['ioredis', 'better-sqlite3', 'ws', 'commander'],
])

/** Packages the core may import as types only; the value is injected. */
export const TYPE_ONLY_PACKAGES: ReadonlySet<string> = new Set(['pino'])
