import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Analytics } from '../../../src/analytics/analytics.ts'
import { RedisSnapshots } from '../../../src/analytics/redis-snapshots.ts'
import { clusterSnapshot, SnapshotExporter } from '../../../src/analytics/snapshot-exporter.ts'
import { MemorySnapshots, type SnapshotStore } from '../../../src/analytics/snapshot-store.ts'
import { type AnalyticsDatabase, SqliteSnapshots } from '../../../src/analytics/sqlite-snapshots.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { createSender, Gate, limit } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { type RedisServer, startRedis } from '../../support/redis.ts'
import { until } from '../../support/wait.ts'
import { connect } from '../stores/sqlite/drivers.ts'

const NOON_MS = Date.UTC(2026, 0, 14, 12)
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

let server: RedisServer
let client: Redis
beforeAll(async () => {
  server = await startRedis()
  client = new Redis(server.url)
})
afterAll(async () => {
  await client.quit()
  await server.stop()
})

const STORES: Readonly<Record<string, (clock: FakeClock) => SnapshotStore>> = {
  memory: clock => new MemorySnapshots({ clock }),
  Redis: clock => new RedisSnapshots({ client, clock }),
  'SQLite (better-sqlite3)': clock =>
    new SqliteSnapshots({ database: connect('better-sqlite3', ':memory:') as AnalyticsDatabase, clock }),
  'SQLite (libsql)': clock =>
    new SqliteSnapshots({ database: connect('libsql', ':memory:') as AnalyticsDatabase, clock }),
}

/** A node with a gate of its own. */
function node(clock: FakeClock, store: SnapshotStore, name?: string) {
  const gate = new Gate({ clock }).use(
    limit({ name: 'five', rate: '5/day', algorithm: 'fixed-window', per: 'client' }),
  )
  const analytics = new Analytics({ gate })
  const exporter = new SnapshotExporter({
    analytics,
    clock,
    store,
    ...(name === undefined ? {} : { node: name }),
  })
  const send = (client: string, times: number): void => {
    const sender = createSender({ client })
    for (let time = 0; time < times; time++)
      void gate.check({ topic: `t/${client}`, on: 'publish', sender, size: 1 })
  }
  return { send, analytics, exporter }
}

describe.each(Object.entries(STORES))('snapshots in %s', (_name, open) => {
  let clock: FakeClock
  let store: SnapshotStore
  beforeEach(async () => {
    await client.flushall()
    clock = new FakeClock(NOON_MS)
    store = open(clock)
  })

  it('replace those of the same name, are separate from others, and expire', async () => {
    await store.put('a', '{"n":1}', 50)
    await store.put('b', '{"n":2}', 100_000)
    await store.put('a', '{"n":3}', 100_000)
    await store.put("'; --", '{"n":"ü"}', 100_000)
    expect([...(await store.list())].sort((x, y) => (x.node < y.node ? -1 : 1))).toEqual([
      { node: "'; --", json: '{"n":"ü"}' },
      { node: 'a', json: '{"n":3}' },
      { node: 'b', json: '{"n":2}' },
    ])
    await store.put('short', '{}', 500)
    expect(await store.list()).toHaveLength(4)
    clock.set(NOON_MS + 500)
    await until(async () => (await store.list()).length === 3, { what: 'the end of the short one' })
    expect((await store.list()).map(({ node }) => node)).not.toContain('short')
  })

  it('of several nodes are merged: sums, distinct clients, the most refused of all', async () => {
    const [one, two] = [node(clock, store, 'one'), node(clock, store, 'two')]
    one.send('shared', 20)
    two.send('shared', 10)
    one.send('left', 8)
    two.send('right', 16)
    await clock.advanceAsync(5 * MINUTE_MS)
    await Promise.all([one.exporter.export(), two.exporter.export()])
    for (const range of ['1h', '24h', '7d'] as const) {
      expect(await clusterSnapshot(store, range, clock)).toMatchObject({
        total: 54,
        blocked: 34,
        uniqueClients: 3,
        topBlocked: {
          clients: {
            error: 0,
            list: [
              { name: 'shared', count: 20 },
              { name: 'right', count: 11 },
              { name: 'left', count: 3 },
            ],
          },
          rules: { error: 0, list: [{ name: 'five', count: 34 }] },
        },
      })
    }
    const { hourly, daily } = await clusterSnapshot(store, '24h', clock)
    expect([hourly.at(-1), daily.at(-1)]).toMatchObject([
      { total: 54, blocked: 34, uniqueClients: 3 },
      { total: 54, blocked: 34, uniqueClients: 3 },
    ])
  })

  it("equal a node's own report, also over hours, and count once however often exported", async () => {
    const { send, analytics, exporter } = node(clock, store)
    for (let hour = 0; hour < 3; hour++) {
      send(`c${hour}`, 7)
      send('always', 1)
      await exporter.export()
      await exporter.export()
      clock.set(clock.now() + HOUR_MS)
    }
    send('late', 1)
    await exporter.close()
    for (const range of ['1h', '24h', '7d'] as const) {
      expect(await clusterSnapshot(store, range, clock)).toEqual(analytics.snapshot(range))
    }
    expect(analytics.snapshot('24h')).toMatchObject({ total: 25, uniqueClients: 5 })
  })
})

describe('the exporter', () => {
  it('exports every five minutes, with a time to live until each span is a day or a month past', async () => {
    const clock = new FakeClock(NOON_MS + 30 * MINUTE_MS)
    const put: [string, number][] = []
    const store: SnapshotStore = {
      put: async (name, _json, ttlMs) => void put.push([name, ttlMs]),
      list: async () => [],
    }
    const { send, exporter } = node(clock, store, 'n')
    send('a', 1)
    await clock.advanceAsync(5 * MINUTE_MS - 1)
    expect(put).toEqual([])
    await clock.advanceAsync(1)
    expect(put).toEqual([
      [`n/slice/${NOON_MS + 30 * MINUTE_MS}`, HOUR_MS],
      [`n/hour/${NOON_MS}`, 25 * MINUTE_MS + 24 * HOUR_MS],
      [`n/day/${NOON_MS - 12 * HOUR_MS}`, 11 * HOUR_MS + 25 * MINUTE_MS + 30 * 24 * HOUR_MS],
    ])
    put.length = 0
    await exporter.close()
    expect(put.map(([name]) => name.split('/')[1])).toEqual(['hour', 'day'])
    expect(clock.pending).toBeGreaterThan(0)
    put.length = 0
    await clock.advanceAsync(30 * MINUTE_MS)
    expect(put).toEqual([])
  })

  it('logs, and repeats what the store refused', async () => {
    const clock = new FakeClock(NOON_MS)
    const lines: unknown[] = []
    const stored: string[] = []
    let broken = true
    const store: SnapshotStore = {
      put: async name => {
        if (broken) throw new Error('out of reach')
        stored.push(name)
      },
      list: async () => [],
    }
    const gate = new Gate({ clock })
    const analytics = new Analytics({ gate })
    const log = (level: string) => (context: object) => void lines.push([level, context])
    const logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') }
    const exporter = new SnapshotExporter({ analytics, clock, store, logger, node: 'n' })
    void gate.check({ topic: 't', on: 'publish', sender: { client: 'c' }, size: 1 })
    await exporter.export()
    expect(lines).toMatchObject([
      ['info', { range: '1h', total: 1, blocked: 0, uniqueClients: 1 }],
      ['warn', { err: { message: 'out of reach' } }],
    ])
    broken = false
    clock.set(clock.now() + 10 * MINUTE_MS)
    await exporter.export()
    expect(stored.map(name => name.split('/')[1])).toEqual(['slice', 'hour', 'day'])
    await exporter.close()
  })

  it('stops even if the store hangs', async () => {
    const clock = new FakeClock(NOON_MS)
    const store: SnapshotStore = { put: () => new Promise(() => {}), list: async () => [] }
    const { send, exporter } = node(clock, store)
    send('a', 1)
    let isClosed = false
    const closed = exporter.close().then(() => {
      isClosed = true
    })
    await clock.advanceAsync(1)
    expect(isClosed).toBe(false)
    await clock.advanceAsync(5_000)
    await closed
    expect(isClosed).toBe(true)
  })

  it('skips invalid records', async () => {
    const clock = new FakeClock(NOON_MS)
    const store = new MemorySnapshots({ clock })
    const { send, exporter } = node(clock, store, 'sound')
    send('a', 7)
    await exporter.export()
    const [{ json } = { json: '' }] = await store.list()
    const sound = JSON.parse(json) as Record<string, unknown>
    const broken: unknown[] = [null, 7, 'x', [], {}]
    for (const key of Object.keys(sound)) broken.push({ ...sound, [key]: undefined }, { ...sound, [key]: -1 })
    broken.push({ ...sound, grain: 'constructor' }, { ...sound, unique: 'AAAA' }, { ...sound, startMs: 1 })
    broken.push({ ...sound, clients: { error: 0, least: [['a']] } }, { ...sound, version: 2 })
    for (const [index, each] of broken.entries())
      await store.put(`broken ${index}`, JSON.stringify(each), HOUR_MS)
    await store.put('no json', '{', HOUR_MS)
    expect(await clusterSnapshot(store, '1h', clock)).toMatchObject({ total: 7, blocked: 2 })
    expect(await clusterSnapshot(store, '7d', clock)).toMatchObject({ total: 7, blocked: 2 })
    await exporter.close()
  })

  it('MemorySnapshots keeps a bounded number, the newest', async () => {
    const store = new MemorySnapshots({ clock: new FakeClock() })
    for (let index = 0; index <= MAX_SIZES.snapshotRecords; index++) await store.put(`n${index}`, '', 1_000)
    const all = await store.list()
    expect(all).toHaveLength(MAX_SIZES.snapshotRecords)
    expect(all[0]!.node).toBe('n1')
  })
})
