import type { Clock } from '../core/clock.ts'
import { policyError } from '../core/errors.ts'
import { type Logger, SILENT } from '../core/logger.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import { openLeased } from './leased/open.ts'
import { MemoryStore } from './memory/memory-store.ts'
import { parseStoreOptions, type StoreSpec } from './normalize-store-options.ts'
import { computeLateAnswerTimeoutMs, openResilient } from './resilient/open.ts'
import type { Store } from './store.ts'
import { STORE_SCHEMES, schemeOf } from './store-url-schemes.ts'

export interface OpenStoreOptions {
  readonly clock?: Clock | undefined
  readonly logger?: Logger | undefined
}

const OPTIONS: KnownOptions<OpenStoreOptions> = { clock: true, logger: true }

/**
 * Opens a store by its URL or specification; the caller closes it. Every store but `memory` is wrapped in a
 * {@link ResilientStore}, and in a lease store if `lease` asks for it. Waits at most one second for a server; a server
 * that is down is not an error and is connected to later. Throws PolicyError for an unknown store and StoreError if a
 * package is missing.
 */
export async function openStore(store: string | StoreSpec, options: OpenStoreOptions = {}): Promise<Store> {
  checkOptionNames(options, OPTIONS)
  const spec = parseStoreOptions(typeof store === 'string' ? { url: store } : store)
  if (spec.url === 'memory') return new MemoryStore({ clock: options.clock })
  const { clock, logger = SILENT } = options
  const { nodes, lease } = spec
  const remote = await openRemote(spec, { ...options, logger })
  // Why: on NATS, a request per message for a busy key takes longer than a decision may.
  const leaseSetting = lease ?? (schemeOf(spec.url) === 'nats' ? 'auto' : 'none')
  return openResilient(openLeased(remote, leaseSetting, { nodes, clock }), { ...spec, clock, logger })
}

async function openRemote(spec: StoreSpec, options: OpenStoreOptions & { logger: Logger }): Promise<Store> {
  const { url, prefix, timeoutMs } = spec
  const scheme = schemeOf(url)
  switch (STORE_SCHEMES.find(known => known === scheme)) {
    case 'sqlite': {
      const { openSqlite } = await import('./sqlite/index.ts')
      return openSqlite(url, options)
    }
    case 'redis':
    case 'rediss':
    case 'redis+sentinel':
    case 'rediss+sentinel':
    case 'redis+cluster':
    case 'rediss+cluster': {
      const { connectRedisStore } = await import('./redis/open.ts')
      return connectRedisStore(url, {
        logger: options.logger,
        prefix,
        timeoutMs: computeLateAnswerTimeoutMs(timeoutMs),
        // The default is the server's clock, because it is the same for all nodes.
        clock: options.clock,
      })
    }
    case 'nats': {
      const { connectNatsKv } = await import('./nats-kv/open.ts')
      return connectNatsKv(url, {
        ...options,
        bucket: prefix,
        timeoutMs: computeLateAnswerTimeoutMs(timeoutMs),
      })
    }
    case undefined:
      throw policyError(
        'store',
        `${JSON.stringify(scheme)} is not a store`,
        'write memory, sqlite:FILE, redis://HOST or nats://HOST',
      )
  }
}
