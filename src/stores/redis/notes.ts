import { systemClock } from '../../clock.ts'
import { StoreError } from '../../errors.ts'
import type { Notes, SharedNote } from '../notes.ts'
import { within } from '../resilient/within.ts'
import type { RedisClient } from './client.ts'

/** The field that counts changes; those of notes begin with a kind. */
const VERSION = '#version'
/** A note that has ended is taken out this long afterwards: clocks of nodes may stand apart. */
const GRACE_MS = 60_000

// KEYS: the hash. ARGV: field, value.
const PUT = `redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) return redis.call('HINCRBY', KEYS[1], '${VERSION}', 1)`
// KEYS: the hash. ARGV: fields.
const REMOVE = `redis.call('HDEL', KEYS[1], unpack(ARGV)) return redis.call('HINCRBY', KEYS[1], '${VERSION}', 1)`
const COUNT = `return redis.call('HGET', KEYS[1], '${VERSION}')`
const LIST = "return redis.call('HGETALL', KEYS[1])"
/** Fields removed in one call. */
const REMOVED_AT_ONCE = 500

/**
 * What the nodes of one Redis tell each other: a hash under one key, so that it lies in one slot of a cluster, and a
 * number in it that grows with every change. Asked for, not subscribed to: a look costs one field, and needs no
 * second connection that could break unnoticed.
 */
export function redisNotes(client: RedisClient, prefix: string, timeoutMs: number): Notes {
  const hash = `${prefix}:notes`
  const run = (script: string, ...args: string[]): Promise<unknown> => {
    if (!client.isReady()) return Promise.reject(new StoreError('redis: not connected'))
    return within(systemClock, timeoutMs, () => client.eval(script, [hash], args))
  }
  return {
    async put({ kind, id, json, expiresAtMs }) {
      await run(PUT, fieldOf(kind, id), JSON.stringify({ json, expiresAtMs }))
    },
    async remove(kind, id) {
      await run(REMOVE, fieldOf(kind, id))
    },
    async version() {
      return String((await run(COUNT)) ?? '')
    },
    async list() {
      const fields = ((await run(LIST)) as readonly unknown[]).map(String)
      const notes: SharedNote[] = []
      const ended: string[] = []
      for (let at = 0; at + 1 < fields.length; at += 2) {
        const field = fields[at]!
        const note = field === VERSION ? undefined : readNote(field, fields[at + 1]!)
        if (note === undefined) continue
        if ((note.expiresAtMs ?? Infinity) + GRACE_MS <= systemClock.now()) ended.push(field)
        else notes.push(note)
      }
      if (ended.length > 0) await run(REMOVE, ...ended.slice(0, REMOVED_AT_ONCE))
      return notes
    },
  }
}

function fieldOf(kind: string, id: string): string {
  return `${kind} ${JSON.stringify(id)}`
}

/** Undefined for what is none: another version may have written it. */
function readNote(field: string, text: string): SharedNote | undefined {
  try {
    const cut = field.indexOf(' ')
    const { json, expiresAtMs } = JSON.parse(text) as { readonly json: string; readonly expiresAtMs?: number }
    const note = { kind: field.slice(0, cut), id: JSON.parse(field.slice(cut + 1)) as string, json }
    return expiresAtMs === undefined ? note : { ...note, expiresAtMs }
  } catch {
    return undefined
  }
}
