import { describe, expect, it } from 'vitest'
import { PolicyError } from '../../../src/core/errors.ts'
import { openStore } from '../../../src/index.ts'
import { openNatsKv, openNatsStream } from '../../../src/stores/nats-kv/index.ts'
import { parseStoreOptions } from '../../../src/stores/normalize-store-options.ts'
import { openRedis } from '../../../src/stores/redis/index.ts'
import { ResilientStore } from '../../../src/stores/resilient/resilient-store.ts'
import { openSqlite } from '../../../src/stores/sqlite/index.ts'

const wrong = (options: object) => options as never

describe('the options of a store in code', () => {
  it('accept the durations of a policy', () => {
    const words = {
      ...({ url: 'redis://h', timeout: '2s', fallback: 'deny', nodes: 3 } as const),
      breaker: { threshold: 1, recovery: '1m', health: '100ms' },
      lease: { units: 50, ttl: '2s' },
    }
    expect(parseStoreOptions(words)).toEqual({
      url: 'redis://h',
      timeoutMs: 2_000,
      fallback: 'deny',
      nodes: 3,
      breaker: { threshold: 1, recoveryMs: 60_000, healthEveryMs: 100 },
      lease: { units: 50, ttlMs: 2_000 },
    })
  })

  it.each([
    [{ url: 'redis://h', timout: '2s' }, 'there is no option `timout` (did you mean `timeout`?)'],
    [{ url: 'redis://h', bogus: true }, 'there is no option `bogus` (use url, prefix'],
    [
      { url: 'redis://h', breaker: { treshold: 1 } },
      'breaker: there is no option `treshold` (did you mean `threshold`?)',
    ],
    [{ url: 'nats://h', lease: { unit: 1 } }, 'lease: there is no option `unit` (did you mean `units`?)'],
    [{ url: 'redis://h', timeout: '2' }, 'timeout: the duration "2" has no unit'],
    [{ url: 'redis://h', timeout: '2s', timeoutMs: 5 }, 'timeoutMs is set too'],
  ])('are refused if they mean nothing: %j', async (options, text) => {
    await expect(openStore(wrong(options))).rejects.toBeInstanceOf(PolicyError)
    await expect(openStore(wrong(options))).rejects.toThrow(text)
  })

  it('are checked by every function that opens a store', async () => {
    await expect(openRedis('redis://h', wrong({ timeout: 1 }))).rejects.toThrow('did you mean `timeoutMs`?')
    await expect(openNatsKv('nats://h', wrong({ buckt: 'b' }))).rejects.toThrow('did you mean `bucket`?')
    await expect(openNatsStream('nats://h', wrong({ maxUnit: 1 }))).rejects.toThrow(
      'did you mean `maxUnits`?',
    )
    await expect(openSqlite(':memory:', wrong({ lockWait: 1 }))).rejects.toThrow('did you mean `lockWaitMs`?')
    expect(() => new ResilientStore(wrong({ store: {}, fallbck: 'deny' }))).toThrow(
      'did you mean `fallback`?',
    )
  })
})
