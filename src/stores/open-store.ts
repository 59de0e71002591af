import type { Clock } from '../core/clock.ts'
import { policyError } from '../core/errors.ts'
import { type Logger, SILENT } from '../core/logger.ts'
import { checkOptionNames, type OptionNames } from '../core/option-names.ts'
import { type LeaseWord, openLeased } from './leased/open.ts'
import { MemoryStore } from './memory/memory-store.ts'
import { readStoreOptions } from './parse-store-options.ts'
import { heardMsOf, openResilient, type ResilienceOptions } from './resilient/open.ts'
import type { Store } from './store.ts'
import { STORE_SCHEMES, schemeOf } from './store-url.ts'

/** A store as a policy names it; see the constructors of the stores for the defaults. */
export interface StoreSpec extends ResilienceOptions {
  /** `memory`, `sqlite:./limits.db`, `redis://…` and its kin, `nats://…`. */
  readonly url: string
  /** A time limit as in a policy, as `250ms`; else `timeoutMs`. */
  readonly timeout?: string | undefined
  /** Before every key of a shared store; the bucket of NATS. */
  readonly prefix?: string | undefined
  /** Take units in advance and decide on them here. Default: `auto` on NATS, else `none`: ask for every message. */
  readonly lease?: LeaseWord | undefined
}

export interface OpenStoreOptions {
  readonly clock?: Clock | undefined
  readonly logger?: Logger | undefined
}

const OPTIONS: OptionNames<OpenStoreOptions> = { clock: true, logger: true }

/**
 * Opens a store by its URL or specification; whoever asked closes it. All but `memory` stand behind a
 * {@link ResilientStore}, and on leases where those are asked for. Waits a second at the most for a server to be
 * connected: one that is down is no error, and is connected to when it comes. Throws PolicyError for what is no store, StoreError where a package is missing.
 */
export async function openStore(store: string | StoreSpec, options: OpenStoreOptions = {}): Promise<Store> {
  checkOptionNames(options, OPTIONS)
  const spec = readStoreOptions(typeof store === 'string' ? { url: store } : store)
  if (spec.url === 'memory') return new MemoryStore({ clock: options.clock })
  const { clock, logger = SILENT } = options
  const { nodes, lease } = spec
  const remote = await openRemote(spec, { ...options, logger })
  // On NATS a busy key that is asked for each message takes more time than a decision may.
  const word = lease ?? (schemeOf(spec.url) === 'nats' ? 'auto' : 'none')
  return openResilient(openLeased(remote, word, { nodes, clock }), { ...spec, clock, logger })
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
      const { connectRedis } = await import('./redis/open.ts')
      return connectRedis(url, {
        logger: options.logger,
        ...(prefix === undefined ? {} : { prefix }),
        timeoutMs: heardMsOf(timeoutMs),
        // By default the server's own: it is the same for all nodes.
        ...(options.clock === undefined ? {} : { clock: options.clock }),
      })
    }
    case 'nats': {
      const { connectNatsKv } = await import('./nats-kv/open.ts')
      const bucket = prefix === undefined ? {} : { bucket: prefix }
      return connectNatsKv(url, { ...options, ...bucket, timeoutMs: heardMsOf(timeoutMs) })
    }
    case undefined:
      throw policyError(
        'store',
        `${JSON.stringify(scheme)} is no store`,
        'write memory, sqlite:FILE, redis://HOST or nats://HOST',
      )
  }
}
