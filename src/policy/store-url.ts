import type { Report } from './collect.ts'
import { nearest } from './nearest.ts'
import type { PolicyDocument } from './schema.ts'

const SCHEMES = [
  'sqlite',
  'redis',
  'rediss',
  'redis+sentinel',
  'rediss+sentinel',
  'redis+cluster',
  'rediss+cluster',
  'nats',
] as const

/** The URL of a policy's store, `memory` where it names none. Reports what this version does not know. */
export function checkStore(store: PolicyDocument['store'], report: Report): string {
  if (store === undefined) return 'memory'
  const url = typeof store === 'string' ? store : store.url
  if (url !== 'memory') {
    const path = typeof store === 'string' ? '' : 'url'
    const [scheme = ''] = url.split(':')
    // Never the whole URL: it may hold a password.
    const shown = scheme.slice(0, 40)
    if (SCHEMES.some(known => known === scheme)) {
      const message = `the store \`${shown}\` is not available in this version`
      report({ path, message, remedy: 'write store: memory' })
    } else {
      const near = nearest(scheme, ['memory', ...SCHEMES])
      const message = `${JSON.stringify(shown)} is no store`
      report({ path, message, remedy: near === 'memory' ? 'did you mean memory?' : 'write store: memory' })
    }
  }
  if (typeof store === 'object') {
    for (const word of ['prefix', 'timeout', 'lease', 'fallback'] as const) {
      if (store[word] === undefined) continue
      report({ path: word, message: `\`${word}\` has no effect on the memory store`, remedy: 'remove it' })
    }
  }
  return url
}
