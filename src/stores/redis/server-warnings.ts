import type { RedisClient } from './redis-client-types.ts'

/** Memory below which a Redis is likely to fill up: some hundred thousand keys. */
const LOW_MEMORY_BYTES = 33_554_432
const NEARLY_FULL = 0.9

/**
 * Returns problems of the servers that may make limits fail later: eviction, a replica, little memory. Returns none
 * if the user may not call INFO.
 */
export async function findServerWarnings(client: RedisClient): Promise<readonly string[]> {
  try {
    const masters = await client.masters()
    const texts = await Promise.all(
      masters.flatMap(master => [master.call('INFO', 'memory'), master.call('INFO', 'replication')]),
    )
    return [...new Set(texts.flatMap(text => findRedisWarnings(String(text))))]
  } catch {
    return []
  }
}

/** Returns the warnings for an INFO reply. */
export function findRedisWarnings(info: string): readonly string[] {
  const warnings: string[] = []
  const policy = fieldOf(info, 'maxmemory_policy')
  if (policy !== undefined && policy !== 'noeviction') {
    warnings.push(
      `maxmemory-policy is ${policy}: Redis may evict counts, and limits then let more pass (set noeviction)`,
    )
  }
  const most = Number(fieldOf(info, 'maxmemory') ?? 0)
  const used = Number(fieldOf(info, 'used_memory') ?? 0)
  if (most > 0 && (most < LOW_MEMORY_BYTES || used > NEARLY_FULL * most)) {
    warnings.push(
      `maxmemory is low: ${most} bytes, ${Math.round((100 * used) / most)} % in use; once it is full the fallback decides (raise maxmemory)`,
    )
  }
  if (fieldOf(info, 'role') === 'slave') {
    warnings.push('the server is a replica: it takes no charges, and the fallback decides (name its master)')
  }
  return warnings
}

function fieldOf(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:([^\\r\\n]*)`, 'm').exec(info)?.[1]
}
