import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import type { Logger } from '../../../../src/core/logger.ts'
import { openStore } from '../../../../src/index.ts'
import { findRedisWarnings } from '../../../../src/stores/redis/server-warnings.ts'
import { startRedis } from '../../../support/redis.ts'

describe('warnings from INFO', () => {
  it('are empty for a server that keeps its keys', () => {
    expect(
      findRedisWarnings('maxmemory:0\r\nused_memory:1000000\r\nmaxmemory_policy:noeviction\r\n'),
    ).toEqual([])
    expect(findRedisWarnings('role:master\r\nconnected_slaves:1\r\n')).toEqual([])
  })

  it.each([
    ['maxmemory_policy:allkeys-lru\r\n', 'maxmemory-policy is allkeys-lru'],
    ['maxmemory_policy:volatile-ttl\r\n', 'set noeviction'],
    ['maxmemory:1048576\r\nused_memory:524288\r\n', 'maxmemory is low: 1048576 bytes, 50 % in use'],
    ['maxmemory:1000000000\r\nused_memory:990000000\r\n', '99 % in use'],
    ['role:slave\r\nmaster_host:h\r\n', 'is a replica'],
  ])('are reported for %j', (info, warning) => {
    expect(findRedisWarnings(info)).toEqual([expect.stringContaining(warning)])
  })
})

describe('a store on a Redis that may evict', () => {
  it('warns once at start and in health, and works', async () => {
    await using server = await startRedis({
      args: ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'],
    })
    const lines: string[] = []
    const logger: Logger = { debug() {}, info() {}, warn: (_, text = '') => lines.push(text), error() {} }
    const store = await openStore(server.url, { logger })
    expect(lines).toEqual([expect.stringContaining('maxmemory-policy is allkeys-lru')])
    const health = await store.health()
    expect(health).toMatchObject({ ok: true, warnings: [expect.stringContaining('allkeys-lru')] })
    expect(lines).toHaveLength(1)
    const admin = new Redis(server.port)
    await admin.config('SET', 'maxmemory-policy', 'noeviction')
    expect((await store.health()).warnings).toBeUndefined()
    await admin.quit()
    await store.close()
  })
})
