import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLimit } from '../../src/algorithms/index.ts'
import { StoreError } from '../../src/core/errors.ts'
import { RedisStore } from '../../src/stores/redis/index.ts'
import { connectRedisStore } from '../../src/stores/redis/open.ts'
import { freePort } from '../support/ports.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { openIoredis, openNodeRedis } from '../support/redis-clients.ts'
import { makeCertificate } from '../support/tls.ts'
import { until } from '../support/wait.ts'

// Nothing comes back while a busy machine takes its time.
const limit = createLimit({ name: 'r', algorithm: 'token-bucket', count: 1_000, periodMs: 3_600_000_000 })
const one = { limit, key: 'k', cost: 1 }
const COMMIT = { commit: true }

/** Long, so that a busy machine fails no test. */
const TIMEOUT_MS = 20_000

const isOk = (store: RedisStore) => async (): Promise<boolean> => (await store.health()).ok

/** Decides once the store answers in time. A rejected decision charges nothing. */
async function decideSoon(store: RedisStore): Promise<number> {
  const [verdict] = await until(() => store.decide([one], COMMIT))
  return verdict!.remaining
}

/** What a decision is rejected with; nothing where it is made. */
async function wordsOf(store: RedisStore): Promise<string> {
  try {
    await store.decide([one], COMMIT)
    return ''
  } catch (error) {
    return String(error)
  }
}

describe('a Redis that answers no more', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(async () => {
    process.kill(server.pid, 'SIGCONT')
    await server.stop()
  })

  const ways = {
    'through ioredis': async () => {
      const client = await openIoredis(server.url)
      return { store: new RedisStore({ client, timeoutMs: 200 }), end: () => client.disconnect() }
    },
    'through node-redis': async () => {
      const client = await openNodeRedis(server.url)
      return { store: new RedisStore({ client, timeoutMs: 200 }), end: () => client.destroy() }
    },
    'by its URL': async () => {
      const store = await connectRedisStore(server.url, { timeoutMs: 200 })
      return { store, end: () => {} }
    },
  }

  it.each(Object.entries(ways))(
    'gets rejections in time, and none of them is charged later: %s',
    async (_, open) => {
      const { store, end } = await open()
      await using admin = Object.assign(await openIoredis(server.url), {
        [Symbol.asyncDispose]: async () => admin.disconnect(),
      })
      await admin.flushall()
      await until(isOk(store))
      expect(await decideSoon(store)).toBe(999)
      await admin.config('RESETSTAT')

      process.kill(server.pid, 'SIGSTOP')
      const asked = await Promise.allSettled(Array.from({ length: 300 }, () => store.decide([one], COMMIT)))
      process.kill(server.pid, 'SIGCONT')
      expect(asked.filter(({ status }) => status === 'rejected')).toHaveLength(300)
      for (const each of asked) expect((each as PromiseRejectedResult).reason).toBeInstanceOf(StoreError)

      // What was in the server's own buffers reaches it all the same, and does nothing there.
      await until(isOk(store))
      const stats = await admin.info('commandstats')
      expect(Number(stats.match(/cmdstat_evalsha:calls=(\d+)/)?.[1])).toBeGreaterThan(0)
      await until(
        async () => (await store.decide([{ ...one, cost: 0 }], { commit: false }))[0]!.remaining === 999,
      )
      await new Promise(resolve => setTimeout(resolve, 300))
      expect(await decideSoon(store)).toBe(998)
      await store.close()
      end()
    },
  )

  it('that dies and comes back is found again, and everything in between is rejected at once', async () => {
    const port = await freePort()
    let mortal = await startRedis({ port })
    const store = await connectRedisStore(mortal.url, { timeoutMs: TIMEOUT_MS })
    await until(isOk(store))
    await store.decide([one], COMMIT)
    await mortal.stop('SIGKILL')
    await until(async () => !(await store.health()).ok)
    for (let times = 0; times < 100; times++) {
      await expect(store.decide([one], COMMIT)).rejects.toThrow('not connected')
    }
    mortal = await startRedis({ port })
    await until(isOk(store))
    expect((await store.decide([one], COMMIT))[0]!.remaining).toBe(999)
    await store.close()
    await mortal.stop()
  })

  it('while it runs a script for too long, says so at once', async () => {
    const busy = await startRedis({ args: ['--busy-reply-threshold', '50'] })
    const client = await openIoredis(busy.url)
    const other = await openIoredis(busy.url)
    const store = new RedisStore({ client, timeoutMs: TIMEOUT_MS })
    await store.decide([one], COMMIT)
    const looping = other.eval('while true do end', 0).catch(() => {})
    await until(async () => (await wordsOf(store)).includes('BUSY'))
    await expect(store.decide([one], COMMIT)).rejects.toThrow('redis: BUSY')
    await client.script('KILL')
    await looping
    await expect(store.decide([one], COMMIT)).resolves.toHaveLength(1)
    client.disconnect()
    other.disconnect()
    await busy.stop()
  })
})

describe('a Redis behind TLS and a password', () => {
  it('lets in who has both, and nobody else', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'topicgate-tls-'))
    const { certFile, keyFile, ca } = await makeCertificate(folder)
    const port = await freePort()
    const server = await startRedis({
      args: [
        ...['--tls-port', String(port), '--tls-cert-file', certFile, '--tls-key-file', keyFile],
        ...['--tls-ca-cert-file', certFile, '--tls-auth-clients', 'no'],
        ...['--user', 'gate', 'on', '>secret', '~limits:*', '+@all', '--user', 'default', 'off'],
      ],
    })
    const store = await connectRedisStore(`rediss://gate:secret@localhost:${port}`, {
      prefix: 'limits',
      timeoutMs: TIMEOUT_MS,
      tls: { ca },
    })
    await until(isOk(store))
    expect((await store.decide([one], COMMIT))[0]!.remaining).toBe(999)
    expect(await store.forget({ rule: 'r' })).toBe(1)
    await store.close()

    const stranger = await connectRedisStore(`rediss://gate:wrong@localhost:${port}`, { tls: { ca } })
    const distrustful = await connectRedisStore(`rediss://gate:secret@localhost:${port}`)
    const elsewhere = await connectRedisStore(`rediss://gate:secret@localhost:${port}`, {
      prefix: 'x',
      timeoutMs: TIMEOUT_MS,
      tls: { ca },
    })
    await until(isOk(elsewhere))
    await expect(elsewhere.decide([one], COMMIT)).rejects.toThrow('NOPERM')
    for (const each of [stranger, distrustful]) {
      await expect(each.decide([one], COMMIT)).rejects.toBeInstanceOf(StoreError)
      expect((await each.health()).ok).toBe(false)
      await each.close()
    }
    await elsewhere.close()
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  })
})
