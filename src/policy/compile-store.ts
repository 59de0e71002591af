import { nearest } from '../core/option-names.ts'
import { parseDuration } from '../core/units.ts'
import type { StoreSpec } from '../stores/normalize-store-options.ts'
import { STORE_SCHEMES, schemeOf } from '../stores/store-url-schemes.ts'
import { type ReportProblem, tryOrReport } from './collect-compile-problems.ts'
import type { PolicyDocument } from './schema.ts'

const REMEDY = 'write memory, sqlite:FILE, redis://HOST or nats://HOST'

/** Options without effect on the memory store. */
const NOT_FOR_MEMORY = ['prefix', 'timeout', 'lease', 'fallback', 'nodes', 'breaker'] as const
/** Options of stores that several nodes share. */
const NOT_FOR_SQLITE = ['prefix', 'lease', 'nodes'] as const

/** Returns the store of a policy, by default `memory`, and reports its problems. */
export function compileStore(store: PolicyDocument['store'], report: ReportProblem): StoreSpec {
  if (store === undefined) return { url: 'memory' }
  if (typeof store === 'string') {
    checkUrl(store, '', report)
    return { url: store }
  }
  const { url, prefix, lease, fallback, nodes, breaker } = store
  checkUrl(url, 'url', report)
  const useless = url === 'memory' ? NOT_FOR_MEMORY : schemeOf(url) === 'sqlite' ? NOT_FOR_SQLITE : []
  for (const option of useless) {
    if (store[option] === undefined) continue
    const kind = url === 'memory' ? 'memory' : 'SQLite'
    report({ path: option, message: `\`${option}\` has no effect on the ${kind} store`, remedy: 'remove it' })
  }
  const durationOf = (text: string | undefined, path: string): number | undefined =>
    text === undefined
      ? undefined
      : tryOrReport(
          () => parseDuration(text),
          problem => report({ ...problem, path }),
        )
  return defined<StoreSpec>({
    url,
    prefix,
    fallback,
    nodes,
    timeoutMs: durationOf(store.timeout, 'timeout'),
    lease:
      typeof lease === 'object'
        ? defined({ units: lease.units, ttlMs: durationOf(lease.ttl, 'lease.ttl') })
        : lease,
    breaker:
      breaker &&
      defined({
        threshold: breaker.threshold,
        recoveryMs: durationOf(breaker.recovery, 'breaker.recovery'),
        healthEveryMs: durationOf(breaker.health, 'breaker.health'),
      }),
  })
}

function checkUrl(url: string, path: string, report: ReportProblem): void {
  if (url === 'memory') return
  // Never report the whole URL: it may contain a password.
  const scheme = schemeOf(url)
  if (!STORE_SCHEMES.some(known => known === scheme)) {
    const near = nearest(scheme, ['memory', ...STORE_SCHEMES])
    const message = `${JSON.stringify(scheme)} is not a store`
    report({ path, message, remedy: near === undefined ? REMEDY : `did you mean ${near}?` })
  } else if (url.length <= scheme.length + 1) {
    report({ path, message: `the store URL \`${scheme}:\` has no address`, remedy: REMEDY })
  }
}

type Loose<T> = { readonly [Name in keyof T]: T[Name] | undefined }

function defined<T extends object>(values: Loose<T>): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T
}
