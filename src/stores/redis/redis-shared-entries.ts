import { systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import type { SharedEntries, SharedEntriesWatch, SharedEntry } from '../shared-entries.ts'
import { notConnected, type RedisClient } from './redis-client-types.ts'
import { keepSubscribed } from './subscriber.ts'

/** Field that counts changes; fields of entries begin with a kind. */
const VERSION = '#version'
/** Delay before an expired entry is removed, because clocks of nodes may differ. */
const GRACE_MS = 60_000

// A user without the right to publish can still store entries; other nodes then find them by polling.
const COUNT_AND_PUBLISH = `local version = redis.call('HINCRBY', KEYS[1], '${VERSION}', 1)
redis.pcall('PUBLISH', KEYS[1], version)
return version`
// KEYS: the hash, and the channel of that name. ARGV: field, value.
const PUT = `redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])\n${COUNT_AND_PUBLISH}`
// KEYS: the hash, and the channel. ARGV: field.
const REMOVE = `redis.call('HDEL', KEYS[1], ARGV[1])\n${COUNT_AND_PUBLISH}`
// KEYS: the hash. ARGV: field, value, field, value, … of expired entries; other nodes are not notified.
const CLEAN = `for at = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[at]) == ARGV[at + 1] then redis.call('HDEL', KEYS[1], ARGV[at]) end
end`
const COUNT = `return redis.call('HGET', KEYS[1], '${VERSION}')`
const LIST = "return redis.call('HGETALL', KEYS[1])"
/** Entries removed per call. */
const REMOVED_PER_CALL = 500

/** Shared entries whose connections close with their store. */
export interface RedisSharedEntries extends SharedEntries {
  close(): void
}

/**
 * Stores runtime entries of all nodes of one Redis in a hash under one key, so that it is in one cluster slot. The
 * hash holds a number that grows with every change, and a channel of the same name announces changes. Polling finds
 * messages that the channel loses; a poll reads one field.
 */
export function redisSharedEntries(
  client: RedisClient,
  prefix: string,
  timeoutMs: number,
): RedisSharedEntries {
  return entriesUnder(client, `${prefix}:notes`, timeoutMs)
}

function entriesUnder(client: RedisClient, hash: string, timeoutMs: number): RedisSharedEntries {
  const watches = new Set<SharedEntriesWatch>()
  const run = (script: string, ...args: string[]): Promise<unknown> => {
    if (!client.isReady()) return Promise.reject(notConnected(client))
    return withTimeout(systemClock, timeoutMs, () => client.eval(script, [hash], args)).catch(explain)
  }
  return {
    async put({ kind, id, json, expiresAtMs }) {
      await run(PUT, fieldOf(kind, id), JSON.stringify({ json, expiresAtMs }))
    },
    async remove(kind, id) {
      await run(REMOVE, fieldOf(kind, id))
    },
    ephemeral(kind) {
      // Stored under a separate key, with a channel of that name that has no subscribers.
      const { put, remove, list } = entriesUnder(client, `${hash}:${kind}`, timeoutMs)
      return { put, remove, list }
    },
    async version() {
      return String((await run(COUNT)) ?? '')
    },
    async list() {
      const fields = ((await run(LIST)) as readonly unknown[]).map(String)
      const sharedEntries: SharedEntry[] = []
      const ended: string[] = []
      for (let at = 0; at + 1 < fields.length; at += 2) {
        const field = fields[at]!
        const entry = field === VERSION ? undefined : parseEntry(field, fields[at + 1]!)
        if (entry === undefined) continue
        if ((entry.expiresAtMs ?? Infinity) + GRACE_MS <= systemClock.now())
          ended.push(field, fields[at + 1]!)
        else sharedEntries.push(entry)
      }
      if (ended.length > 0) await run(CLEAN, ...ended.slice(0, 2 * REMOVED_PER_CALL))
      return sharedEntries
    },
    ...(client.listen === undefined
      ? {}
      : {
          watch: changed => {
            const watch = keepSubscribed(client, hash, changed)
            watches.add(watch)
            const close = (): void => {
              watches.delete(watch)
              watch.close()
            }
            return { isLive: () => watch.isLive(), close }
          },
        }),
    close() {
      for (const watch of watches) watch.close()
    },
  }
}

/** Adds the remedy, because Redis does not report which command of a script was refused. */
function explain(cause: unknown): never {
  const message = cause instanceof Error ? cause.message : String(cause)
  if (!/NOPERM|ACL failure|can't run this command|no permissions/i.test(message)) throw cause
  const remedy = 'the user needs +hset +hget +hdel +hincrby +hgetall'
  throw new StoreError(`redis: ${message.split('\n')[0]} (${remedy})`, { cause })
}

function fieldOf(kind: string, id: string): string {
  return `${kind} ${JSON.stringify(id)}`
}

/** Returns undefined for an invalid entry, which another version may have written. */
function parseEntry(field: string, text: string): SharedEntry | undefined {
  try {
    const cut = field.indexOf(' ')
    const { json, expiresAtMs } = JSON.parse(text) as { readonly json: string; readonly expiresAtMs?: number }
    const entry = { kind: field.slice(0, cut), id: JSON.parse(field.slice(cut + 1)) as string, json }
    return expiresAtMs === undefined ? entry : { ...entry, expiresAtMs }
  } catch {
    return undefined
  }
}
