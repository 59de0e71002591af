import { expect, it } from 'vitest'
import {
  isProjectFile,
  listComments,
  listFiles,
  listImports,
  listSources,
  readText,
  stripComments,
} from './project.ts'

/** Names in comments that no code has: those of brokers, clients and drivers, and examples of what users write. */
const FOREIGN_NAMES: ReadonlySet<string> = new Set([
  ...['authenticate', 'authorizePublish', 'clientError', 'end', 'puback'],
  ...[
    'ack_wait',
    'max_ack_pending',
    'max_deliver',
    'consumer_deleted',
    'heartbeats_missed',
    'PubAck',
    'KV_bucket',
  ],
  ...[
    'authenticator',
    'createClient',
    'createCluster',
    'disableOfflineQueue',
    'rediss',
    'Database',
    'DatabaseSync',
  ],
  ...['ratelimit', 'RateLimit', 'authorization', 'topicgate_requests_total', 'Infinity', '__proto__'],
  ...['tg_NAME_SECRET', 'getSendersById', 'emergency', 'abuse', 'prod', 'head', 'tgat', 'up', 'q', 'x5'],
])

const FILE = /(?<![\w/.{}-])[\w-]+(?:\/[\w-]+)*\.(?:tsx?|lua)\b/g
const NAME = /`#?([A-Za-z_]\w*)(?:\(\))?`|\{@link[\s*]+([A-Za-z_]\w*)/g
const EXPORT =
  /\bexport\s+(?:async\s+)?(?:abstract\s+)?(?:const|let|function\*?|class|type|interface)\s+(\w+)|\bexport\s+(?:type\s+)?\{([^}]*)\}/g
const OPTIONS = /KnownOptions<[^=]*=\s*\{([^}]*)\}/g

interface Source {
  readonly path: string
  readonly text: string
  /** Words of the code, with those in strings. */
  readonly words: ReadonlySet<string>
  /** Words of the code, without those in strings. */
  readonly names: ReadonlySet<string>
}

function wordsOf(text: string): ReadonlySet<string> {
  return new Set(text.match(/\w+/g))
}

function readSource(path: string): Source {
  const text = readText(path)
  const words = wordsOf(stripComments(text, { strings: 'keep' }))
  return { path, text, words, names: wordsOf(stripComments(text, { strings: 'blank' })) }
}

/** Returns the words that a policy may contain: the keys and fixed values of its JSON schema. */
function policyWords(schema: unknown): string[] {
  if (typeof schema === 'string') return [schema]
  if (typeof schema !== 'object' || schema === null) return []
  return Object.entries(schema).flatMap(([key, value]) =>
    key === 'description' ? [] : [key, ...policyWords(value)],
  )
}

it('comments name only what exists: in their file, in one that it imports, as an export, an option or a policy word', () => {
  const sources = [...listSources(), 'test/conformance/index.ts'].map(readSource)
  const byPath = new Map(sources.map(source => [source.path, source]))
  const everywhere = new Set([
    ...FOREIGN_NAMES,
    ...policyWords(JSON.parse(readText('config/policy.schema.json'))),
    ...sources.flatMap(({ text }) =>
      [...text.matchAll(EXPORT), ...text.matchAll(OPTIONS)].flatMap(([, ...names]) => [
        ...wordsOf(names.join(' ')),
      ]),
    ),
  ])
  const found = sources.flatMap(({ path, text, words }) => {
    const imported = listImports(path).map(({ to }) => to)
    const isKnown = (name: string): boolean =>
      words.has(name) ||
      everywhere.has(name) ||
      imported.some(file => isProjectFile(file) && byPath.get(file)?.names.has(name))
    return listComments(text)
      .flatMap(comment => [...comment.matchAll(NAME)].map(([, name, linked]) => name ?? linked!))
      .filter(name => !isKnown(name))
      .map(name => `${path}: a comment names \`${name}\`, which no code has: use the present name`)
  })
  expect(found).toEqual([])
})

it('comments name only files that exist', () => {
  const files = listFiles('').map(path => `/${path}`)
  const luaComments = (text: string): string[] => text.match(/--.*/g) ?? []
  const commented = [
    ...listSources().map(path => ({ path, comments: listComments(readText(path)) })),
    ...listFiles('src', '.lua').map(path => ({ path, comments: luaComments(readText(path)) })),
  ]
  const found = commented.flatMap(({ path, comments }) =>
    comments
      .flatMap(comment => comment.match(FILE) ?? [])
      .filter(name => !files.some(file => file.endsWith(`/${name}`)))
      .map(name => `${path}: a comment names ${name}, which does not exist: name the present file`),
  )
  expect(found).toEqual([])
})
