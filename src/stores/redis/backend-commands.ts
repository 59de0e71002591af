import { systemClock } from '../../core/clock.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import type { RedisCommands } from '../backend-connection.ts'
import { notConnected, type RedisClient } from './redis-client-types.ts'

// KEYS: the key. ARGV: the command, then its arguments. Why a script: every kind of client routes it to the node
// that holds the key.
const CALL = 'return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))'

/** Returns commands on top of any client, each within `timeoutMs`. */
export function commandsOf(client: RedisClient, timeoutMs: number): RedisCommands {
  const call = async (command: string, key: string, ...words: (string | number)[]): Promise<unknown> => {
    if (!client.isReady()) throw notConnected(client)
    return withTimeout(systemClock, timeoutMs, () =>
      client.eval(CALL, [key], [command, ...words.map(String)]),
    )
  }
  return {
    set: (key, value, unit, ttlMs) => call('SET', key, value, unit, ttlMs),
    async get(key) {
      const value = await call('GET', key)
      return value === null ? null : String(value)
    },
    zadd: (key, score, member) => call('ZADD', key, score, member),
    zremrangebyscore: (key, least, most) => call('ZREMRANGEBYSCORE', key, least, most),
    async zrevrange(key, first, last) {
      return ((await call('ZREVRANGE', key, first, last)) as readonly unknown[]).map(String)
    },
    pexpire: (key, ttlMs) => call('PEXPIRE', key, ttlMs),
  }
}
