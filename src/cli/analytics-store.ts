import {
  type Clock,
  type Logger,
  openStore,
  RedisSnapshots,
  type SnapshotStore,
  SqliteSnapshots,
  type Store,
} from '../index.ts'
import { CommandError, EXIT } from './command-error.ts'

/** Where a broker leaves what it has counted. */
export interface AnalyticsStore {
  /** Undefined for nowhere. */
  readonly snapshots: SnapshotStore | undefined
  close(): Promise<void>
}

const REMEDY = 'write sqlite:FILE, redis://HOST, policy for the store of the policy, or none'

/**
 * The store of a policy where `word` is undefined or `policy`, as far as it is SQLite or Redis; nothing for `none`; else
 * what its URL says, opened for this alone. Throws CommandFailure for what cannot keep analytics, StoreError for a file
 * that cannot be opened.
 */
export async function openAnalyticsStore(
  word: string | undefined,
  { store, clock }: { readonly store: Store; readonly clock: Clock },
  logger: Logger,
): Promise<AnalyticsStore> {
  const stays = async (): Promise<void> => {}
  if (word === 'none') return { snapshots: undefined, close: stays }
  if (word === undefined || word === 'policy') {
    const snapshots = snapshotsIn(store, clock)
    if (snapshots !== undefined || word === undefined) return { snapshots, close: stays }
    throw wrong(`the policy's store keeps no analytics: it is ${store.name}`)
  }
  if (!/^(sqlite|rediss?(\+(sentinel|cluster))?):/.test(word)) throw wrong('it is no SQLite and no Redis')
  const opened = await openStore(word, { logger })
  const snapshots = snapshotsIn(opened, clock)
  return { snapshots, close: () => opened.close() }
}

/** Beside the state of limits; undefined where nothing else can stand there. */
function snapshotsIn({ backend }: Store, clock: Clock): SnapshotStore | undefined {
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

/** Never the URL: it may hold a password. */
function wrong(why: string): CommandError {
  return new CommandError(`the value of --analytics-store cannot be used: ${why} (${REMEDY})`, EXIT.usage)
}
