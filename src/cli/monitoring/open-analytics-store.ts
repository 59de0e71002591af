import {
  type Clock,
  type Logger,
  openStore,
  RedisSnapshots,
  type SnapshotStore,
  SqliteSnapshots,
  type Store,
} from '../../index.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'

/** Snapshot store of a broker's analytics. */
export interface AnalyticsStore {
  /** Undefined if analytics are not stored. */
  readonly snapshots: SnapshotStore | undefined
  close(): Promise<void>
}

const REMEDY = 'write sqlite:FILE, redis://HOST, policy for the store of the policy, or none'

/**
 * Opens the snapshot store. By default, or for `policy`, uses the store of the policy if it is SQLite or Redis; for
 * `none` returns no store; otherwise opens the given URL. Throws CommandError for a store that cannot hold analytics,
 * StoreError for a file that cannot be opened.
 */
export async function openAnalyticsStore(
  word: string | undefined,
  { store, clock }: { readonly store: Store; readonly clock: Clock },
  logger: Logger,
): Promise<AnalyticsStore> {
  const keepOpen = async (): Promise<void> => {}
  if (word === 'none') return { snapshots: undefined, close: keepOpen }
  if (word === undefined || word === 'policy') {
    const snapshots = createSnapshots(store, clock)
    if (snapshots !== undefined || word === undefined) return { snapshots, close: keepOpen }
    throw invalidOption(`the policy's store keeps no analytics: it is ${store.name}`)
  }
  if (!/^(sqlite|rediss?(\+(sentinel|cluster))?):/.test(word))
    throw invalidOption('it is neither SQLite nor Redis')
  const opened = await openStore(word, { logger })
  const snapshots = createSnapshots(opened, clock)
  return { snapshots, close: () => opened.close() }
}

/** Returns snapshots in the backend of a store; undefined if it has none. */
function createSnapshots({ backend }: Store, clock: Clock): SnapshotStore | undefined {
  if (backend === undefined) return undefined
  if (backend.kind === 'redis') {
    return new RedisSnapshots({ client: backend.commands, prefix: backend.prefix, clock })
  }
  const { transact } = backend
  return {
    put: async (node, json, ttlMs) =>
      transact(database => new SqliteSnapshots({ database, clock }).put(node, json, ttlMs)),
    list: async () => transact(database => new SqliteSnapshots({ database, clock }).list()),
  }
}

/** Never print the URL: it may contain a password. */
function invalidOption(why: string): CommandError {
  return new CommandError(`the value of --analytics-store cannot be used: ${why} (${REMEDY})`, EXIT.usage)
}
