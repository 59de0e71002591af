import {
  type Clock,
  type Logger,
  openStore,
  RedisSnapshots,
  type SnapshotStore,
  SqliteSnapshots,
  type Store,
} from '../index.ts'
import { CommandFailure, EXIT } from './failure.ts'

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
function snapshotsIn({ medium }: Store, clock: Clock): SnapshotStore | undefined {
  if (medium === undefined) return undefined
  if (medium.kind === 'redis') {
    return new RedisSnapshots({ client: medium.commands, prefix: medium.prefix, clock })
  }
  const { transact } = medium
  return {
    put: async (node, json, ttlMs) =>
      transact(database => new SqliteSnapshots({ database, clock }).put(node, json, ttlMs)),
    list: async () => transact(database => new SqliteSnapshots({ database, clock }).list()),
  }
}

/** Never the URL: it may hold a password. */
function wrong(why: string): CommandFailure {
  return new CommandFailure(`the value of --analytics-store cannot be used: ${why} (${REMEDY})`, EXIT.usage)
}
