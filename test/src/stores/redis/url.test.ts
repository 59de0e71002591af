import { describe, expect, it } from 'vitest'
import { StoreError } from '../../../../src/core/errors.ts'
import { connectRedisStore } from '../../../../src/stores/redis/open.ts'
import { parseRedisUrl } from '../../../../src/stores/redis/url.ts'

describe('the URL of a Redis', () => {
  it('contains the address and the credentials', () => {
    expect(parseRedisUrl('redis://h')).toEqual({
      kind: 'standalone',
      isEncrypted: false,
      hosts: [{ host: 'h', port: 6379 }],
    })
    expect(parseRedisUrl('rediss://u:p%40ss@h:7000/3')).toEqual({
      kind: 'standalone',
      isEncrypted: true,
      hosts: [{ host: 'h', port: 7000 }],
      username: 'u',
      password: 'p@ss',
      db: 3,
    })
    expect(parseRedisUrl('redis://:secret@[::1]:6380')).toMatchObject({
      hosts: [{ host: '::1', port: 6380 }],
      password: 'secret',
    })
    expect(parseRedisUrl('redis+sentinel://a,b:27000/mymaster?db=2')).toEqual({
      kind: 'sentinel',
      isEncrypted: false,
      master: 'mymaster',
      db: 2,
      hosts: [
        { host: 'a', port: 26_379 },
        { host: 'b', port: 27_000 },
      ],
    })
    expect(parseRedisUrl('rediss+cluster://a:1,b:2')).toMatchObject({ kind: 'cluster', isEncrypted: true })
  })

  it.each([
    'http://h',
    'redis://',
    'redis://h:99999',
    'redis://h:0',
    'redis://a,b',
    'redis://h/db',
    'redis+sentinel://h',
    'redis+cluster://h/1',
    'redis://u:%ff@h',
    'redis:',
    '',
  ])('%s is rejected without showing its password', url => {
    expect(() => parseRedisUrl(url)).toThrow(StoreError)
    expect(() => parseRedisUrl(url)).toThrow('redis://[user:password@]host')
    expect(() => parseRedisUrl('redis://u:hunter2@a,b')).not.toThrow('hunter2')
  })
})

describe('opening by URL', () => {
  it('names the missing package, and how to install it', async () => {
    const load = () => Promise.reject(new Error('no such package'))
    await expect(connectRedisStore('redis://h', { load })).rejects.toThrow('npm install ioredis')
    await expect(connectRedisStore('redis://h', { load })).rejects.toBeInstanceOf(StoreError)
    await expect(connectRedisStore([])).rejects.toThrow('the URL of Redis is missing')
  })

  it('is not an error while no server is up: decisions are rejected at once', async () => {
    const store = await connectRedisStore('redis://127.0.0.1:1')
    await expect(store.forget({})).rejects.toBeInstanceOf(StoreError)
    expect(await store.health()).toMatchObject({
      ok: false,
      detail: expect.stringContaining('not connected'),
    })
    await store.close()
  })
})
