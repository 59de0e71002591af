import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { type NatsConnection, NatsKvStore, NatsStreamStore } from '../../../../src/stores/nats-kv/index.ts'
import { connectNatsKv } from '../../../../src/stores/nats-kv/open.ts'
import type { SharedEntry } from '../../../../src/stores/shared-entries.ts'
import { startNats } from '../../../support/nats.ts'
import { until } from '../../../support/wait.ts'
import { askApi, CLIENTS } from './harness.ts'

const server = await startNats({ jetstream: true })
const admin = await CLIENTS.nats!(server.url)
const ends: (() => Promise<unknown>)[] = []
let buckets = 0
afterEach(async () => {
  for (const end of ends.splice(0)) await end()
})
afterAll(async () => {
  await admin.close()
  await server.stop()
})

interface Node {
  readonly store: NatsKvStore
  readonly connection: NatsConnection
  heard: number
}

async function open(bucket: string, client = 'nats', url = server.url): Promise<Node> {
  const connection = await CLIENTS[client]!(url)
  const store = new NatsKvStore({ connection, bucket, timeoutMs: 20_000 })
  ends.push(async () => {
    await store.close()
    await connection.close()
  })
  return { store, connection, heard: 0 }
}

/** Also waits until the server has processed earlier requests. */
async function listen(node: Node): Promise<ReturnType<NatsKvStore['sharedEntries']['watch']>> {
  const watch = node.store.sharedEntries.watch(() => node.heard++)
  await until(() => watch.isLive())
  await node.store.sharedEntries.version()
  node.heard = 0
  return watch
}

const runtimeEntryOf = (id: string, expiresAtMs?: number): SharedEntry => ({
  kind: 'ban',
  id,
  json: `{"id":${JSON.stringify(id)}}`,
  ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
})

describe.each(Object.keys(CLIENTS))('shared entries of a NATS store with %s', client => {
  it('are reported once each, in the same order on all nodes', async () => {
    const bucket = `n-${++buckets}`
    const other = Object.keys(CLIENTS).find(name => name !== client)
    const nodes = [await open(bucket, client), await open(bucket, other)]
    expect(await nodes[0]!.store.sharedEntries.version()).toBe('')
    for (const node of nodes) await listen(node)
    for (let n = 0; n < 200; n++) await nodes[n % 2]!.store.sharedEntries.put(runtimeEntryOf(`c${n}`))
    await nodes[0]!.store.sharedEntries.put({ ...runtimeEntryOf('c0'), json: '"again"' })
    await nodes[1]!.store.sharedEntries.remove('ban', 'c1')
    await until(() => nodes.every(({ heard }) => heard >= 202))
    expect(nodes.map(({ heard }) => heard)).toEqual([202, 202])
    const expected = [...Array.from({ length: 198 }, (_, n) => `c${n + 2}`), 'c0']
    for (const { store } of nodes) {
      const sharedEntries = await store.sharedEntries.list()
      expect(sharedEntries.map(({ id }) => id)).toEqual(expected)
      expect(sharedEntries.at(-1)).toEqual({ ...runtimeEntryOf('c0'), json: '"again"' })
    }
    expect(await nodes[0]!.store.sharedEntries.version()).toBe(await nodes[1]!.store.sharedEntries.version())
  })

  it('are no longer reported after the watch or the store is closed', async () => {
    const bucket = `n-${++buckets}`
    const node = await open(bucket, client)
    const far = await open(bucket, client)
    const first = await listen(node)
    const second = node.store.sharedEntries.watch(() => {})
    first.close()
    await far.store.sharedEntries.put(runtimeEntryOf('a'))
    await node.store.sharedEntries.version()
    expect([node.heard, first.isLive(), second.isLive()]).toEqual([0, false, true])
    await node.store.close()
    expect(second.isLive()).toBe(false)
    // The caller's connection stays open.
    expect(node.connection.isClosed()).toBe(false)
  })

  it('outlive their nodes, and a lost server is reported', async () => {
    const own = await startNats({ jetstream: true })
    const node = await open('n', client, own.url)
    const watch = await listen(node)
    await node.store.sharedEntries.put(runtimeEntryOf('a'))
    await until(() => node.heard === 1)
    const before = await node.store.sharedEntries.version()
    await node.store.close()
    const again = await open('n', client, own.url)
    expect(await again.store.sharedEntries.version()).toBe(before)
    expect(await again.store.sharedEntries.list()).toEqual([runtimeEntryOf('a')])
    expect(watch.isLive()).toBe(false)
    const heard = await listen(again)
    await own.stop('SIGKILL')
    await until(() => !heard.isLive())
    expect(again.heard).toBe(1)
  })
})

describe('the entries of a bucket', () => {
  it('are read incrementally, and completely after a message has vanished', async () => {
    const bucket = `n-${++buckets}`
    const node = await open(bucket)
    for (let n = 0; n < 10; n++) await node.store.sharedEntries.put(runtimeEntryOf(`c${n}`))
    expect(await node.store.sharedEntries.list()).toHaveLength(10)
    let asked = 0
    const { request } = node.connection
    node.connection.request = (...args) => {
      asked += args[0].includes('MSG.GET') ? 1 : 0
      return request.apply(node.connection, args)
    }
    await node.store.sharedEntries.put(runtimeEntryOf('c10'))
    expect(await node.store.sharedEntries.list()).toHaveLength(11)
    expect(asked).toBe(1)
    await askApi(admin, `STREAM.PURGE.KV_${bucket}-notes`, { filter: `$KV.${bucket}-notes.ban.c3` })
    expect((await node.store.sharedEntries.list()).map(({ id }) => id)).not.toContain('c3')
    // All eleven sequences, and once after them.
    expect(asked).toBe(1 + 11 + 1)
    await askApi(admin, `STREAM.DELETE.KV_${bucket}-notes`)
    expect(await node.store.sharedEntries.version()).toBe('')
    await node.store.sharedEntries.put(runtimeEntryOf('new'))
    expect((await node.store.sharedEntries.list()).map(({ id }) => id)).toEqual(['new'])
  })

  it('are complete even if they are rewritten during a read', async () => {
    const bucket = `n-${++buckets}`
    const [node, far] = [await open(bucket), await open(bucket)]
    await far.store.sharedEntries.put({ ...runtimeEntryOf('a'), json: '1' })
    await node.store.sharedEntries.list()
    await far.store.sharedEntries.put({ ...runtimeEntryOf('a'), json: '2' })
    await far.store.sharedEntries.put(runtimeEntryOf('b'))
    const { request } = node.connection
    let isFirst = true
    node.connection.request = async (...args) => {
      if (isFirst && args[0].includes('MSG.GET')) {
        isFirst = false
        await far.store.sharedEntries.put({ ...runtimeEntryOf('a'), json: '3' })
      }
      return request.apply(node.connection, args)
    }
    const sharedEntries = await node.store.sharedEntries.list()
    expect(sharedEntries.map(({ id, json }) => [id, json])).toEqual([
      ['b', runtimeEntryOf('b').json],
      ['a', '3'],
    ])
  })

  it('are purged a minute after they expired; other messages stay', async () => {
    const bucket = `n-${++buckets}`
    const node = await open(bucket)
    const nowMs = Date.now()
    await node.store.sharedEntries.put(runtimeEntryOf('long over', nowMs - 61_000))
    await node.store.sharedEntries.put(runtimeEntryOf('just over', nowMs - 1_000))
    await node.store.sharedEntries.put(runtimeEntryOf('half \ud800'))
    await node.connection.request(`$KV.${bucket}-notes.ban.foreign`, 'no note', { timeout: 5_000 })
    expect((await node.store.sharedEntries.list()).map(({ id }) => id)).toEqual(['just over', 'half \ud800'])
    const { state } = await askApi<{ state: { messages: number } }>(admin, `STREAM.INFO.KV_${bucket}-notes`)
    expect(state.messages).toBe(3)
    expect((await node.store.sharedEntries.list()).map(({ id }) => id)).toEqual(['just over', 'half \ud800'])
  })

  it('never expire by themselves, even in a bucket created otherwise', async () => {
    const bucket = `n-${++buckets}`
    const settings = { name: `KV_${bucket}-notes`, subjects: [`$KV.${bucket}-notes.>`] }
    await askApi(admin, `STREAM.CREATE.${settings.name}`, {
      ...{ ...settings, max_msgs_per_subject: 1, max_age: 60e9, discard: 'new', deny_delete: true },
      retention: 'limits',
      storage: 'memory',
      num_replicas: 1,
    })
    const node = await open(bucket)
    await node.store.sharedEntries.put(runtimeEntryOf('a'))
    const { config } = await askApi<{ config: { max_age: number } }>(admin, `STREAM.INFO.${settings.name}`)
    expect(config.max_age).toBe(0)
  })

  it('are read by one call at a time, however many are concurrent', async () => {
    const bucket = `n-${++buckets}`
    const node = await open(bucket)
    for (let n = 0; n < 50; n++) await node.store.sharedEntries.put(runtimeEntryOf(`c${n}`))
    const lists = await Promise.all(Array.from({ length: 20 }, () => node.store.sharedEntries.list()))
    expect(lists.map(({ length }) => length)).toEqual(Array.from({ length: 20 }, () => 50))
  })

  it('are available and watched again when the server is back', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'topicgate-nats-'))
    const start = (port?: number): ReturnType<typeof startNats> =>
      startNats({
        jetstream: true,
        args: ['--store_dir', folder],
        ...(port === undefined ? {} : { port }),
      })
    const first = await start()
    const stores = await Promise.all([1, 2].map(() => connectNatsKv(first.url, { timeoutMs: 20_000 })))
    for (const store of stores) await until(async () => (await store.health()).ok)
    const [near, far] = stores.map(({ sharedEntries }) => sharedEntries)
    let heard = 0
    const watch = far!.watch(() => heard++)
    await near!.put(runtimeEntryOf('before'))
    await until(() => watch.isLive() && heard > 0)
    await first.stop('SIGKILL')
    await until(() => !watch.isLive())
    const second = await start(first.port)
    for (const store of stores) await until(async () => (await store.health()).ok)
    await until(() => watch.isLive())
    expect(await far!.list()).toEqual([runtimeEntryOf('before')])
    heard = 0
    await near!.put(runtimeEntryOf('after'))
    await until(() => heard === 1)
    expect(await far!.list()).toEqual([runtimeEntryOf('before'), runtimeEntryOf('after')])
    for (const store of stores) await store.close()
    await second.stop()
    rmSync(folder, { recursive: true })
  })

  it('are polled if a connection cannot subscribe', async () => {
    const bucket = `n-${++buckets}`
    const { connection } = await open(bucket)
    const mute = { ...bound(connection), subscribe: undefined } as unknown as NatsConnection
    const store = new NatsKvStore({ connection: mute, bucket })
    await store.sharedEntries.put(runtimeEntryOf('a'))
    expect(store.sharedEntries.watch(() => {}).isLive()).toBe(false)
    expect(await store.sharedEntries.list()).toEqual([runtimeEntryOf('a')])
    await store.close()
  })

  it('are polled if a user may not subscribe', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'topicgate-nats-')), 'nats.conf')
    const permissions = '{ publish: ">", subscribe: { deny: "$KV.>" } }'
    writeFileSync(file, `authorization { users: [{ user: a, password: b, permissions: ${permissions} }] }\n`)
    const own = await startNats({ jetstream: true, args: ['--config', file] })
    for (const client of Object.keys(CLIENTS)) {
      const node = await open('n', client, own.url.replace('//', '//a:b@'))
      const watch = node.store.sharedEntries.watch(() => node.heard++)
      await node.store.sharedEntries.put(runtimeEntryOf('a'))
      await until(() => !watch.isLive())
      expect(node.heard).toBe(1)
      expect(await node.store.sharedEntries.list()).toEqual([runtimeEntryOf('a')])
    }
    for (const end of ends.splice(0)) await end()
    await own.stop()
    rmSync(dirname(file), { recursive: true })
  })

  it('are bounded: a full bucket accepts no more, and drops none', async () => {
    const bucket = `n-${++buckets}`
    const node = await open(bucket)
    await node.store.sharedEntries.put(runtimeEntryOf('a'))
    const name = `KV_${bucket}-notes`
    const { config } = await askApi<{ config: object }>(admin, `STREAM.INFO.${name}`)
    expect(config).toMatchObject({
      max_msgs: 8 * MAX_SIZES.sharedEntries,
      discard: 'new',
      max_msgs_per_subject: 1,
    })
    await askApi(admin, `STREAM.UPDATE.${name}`, { ...config, max_msgs: 2 })
    await node.store.sharedEntries.put(runtimeEntryOf('b'))
    await expect(node.store.sharedEntries.put(runtimeEntryOf('c'))).rejects.toThrow(
      'maximum messages exceeded',
    )
    await node.store.sharedEntries.put({ ...runtimeEntryOf('a'), json: '"again"' })
    expect((await node.store.sharedEntries.list()).map(({ id }) => id)).toEqual(['b', 'a'])
  })

  it('work with the stream store too', async () => {
    const bucket = `n-${++buckets}`
    const node = await open(bucket)
    const streams = new NatsStreamStore({ connection: node.connection, bucket, timeoutMs: 20_000 })
    await streams.sharedEntries.put(runtimeEntryOf('a'))
    expect(await node.store.sharedEntries.list()).toEqual([runtimeEntryOf('a')])
    await streams.close()
  })
})

function bound(connection: NatsConnection): NatsConnection {
  return {
    request: (...args) => connection.request(...args),
    status: () => connection.status(),
    isClosed: () => connection.isClosed(),
    close: () => connection.close(),
  }
}
