import { describe, expect, it } from 'vitest'
import { createLimit } from '../../../../src/algorithms/index.ts'
import { systemClock } from '../../../../src/core/clock.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { Gate } from '../../../../src/gate/gate.ts'
import { IpcStore } from '../../../../src/stores/ipc/store.ts'
import { IpcStoreServer } from '../../../../src/stores/ipc/store-server.ts'
import { LeasedStore } from '../../../../src/stores/leased/leased-store.ts'
import { MemorySharedEntries } from '../../../../src/stores/memory/memory-shared-entries.ts'
import { MemoryStore } from '../../../../src/stores/memory/memory-store.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { until } from '../../../support/wait.ts'
import { ipcServer } from './ipc-server.ts'

const limit = createLimit({ name: 'all', algorithm: 'token-bucket', count: 100, periodMs: 1_000 })

describe('an ipc store', () => {
  it('counts for two processes exactly together', async () => {
    const server = ipcServer(new FakeClock())
    const stores = [new IpcStore(server.connect()), new IpcStore(server.connect())]
    const charge = { limit, key: 'a', cost: 1 }
    const verdicts = await Promise.all(
      Array.from({ length: 300 }, (_, index) => stores[index % 2]!.decide([charge], { commit: true })),
    )
    expect(verdicts.filter(([verdict]) => verdict!.allowed)).toHaveLength(100)
  })

  it('sends the calls of one turn of the event loop together, and each limit once', async () => {
    const requests: unknown[] = []
    const server = ipcServer(new FakeClock()).connect()
    const store = new IpcStore({
      ...server,
      request: request => {
        requests.push(request)
        return server.request(request)
      },
    })
    const decide = (key: string): unknown => store.decide([{ limit, key, cost: 1 }], { commit: true })
    await Promise.all([decide('a'), decide('b'), store.refund([{ limit, key: 'a', cost: 1, soft: true }])])
    expect(requests).toEqual([
      {
        limits: [['all', '[2,"token-bucket",100,1000,100,100,1]']],
        calls: [
          { name: 'decide', commit: true, charges: [[0, 'a', 1, 0]] },
          { name: 'decide', commit: true, charges: [[0, 'b', 1, 0]] },
          { name: 'refund', charges: [[0, 'a', 1, 1]] },
        ],
      },
    ])
  })

  it('rejects with a StoreError once the other process is gone, and after close', async () => {
    const store = new IpcStore({
      request: () => Promise.reject(new Error('channel closed')),
      onEntriesChanged: () => () => {},
    })
    const gone = { code: 'TOPICGATE_STORE', message: expect.stringContaining('is gone') }
    await expect(store.decide([{ limit, key: 'a', cost: 1 }], { commit: true })).rejects.toMatchObject(gone)
    expect(await store.health()).toMatchObject({ ok: false })
    await store.close()
    await expect(store.forget({})).rejects.toThrow('the ipc store is closed')
  })

  it('shares bans of one gate with all others at once', async () => {
    const server = ipcServer(systemClock)
    await using first = new Gate({ store: new IpcStore(server.connect()) })
    await using second = new Gate({ store: new LeasedStore({ store: new IpcStore(server.connect()) }) })
    await first.bans.add({ client: 'd7', for: '1h', reason: 'test' })
    await until(() => second.bans.size === 1)
    expect(first.bans.isShared(first.bans.list()[0]!.id)).toBe(false)
    await second.bans.remove(second.bans.list()[0]!.id)
    await until(() => first.bans.size === 0)
  })

  it('reports an error of one call to its caller alone', async () => {
    const entries = new MemorySharedEntries(new FakeClock())
    const server = new IpcStoreServer(new MemoryStore({ clock: new FakeClock() }), entries)
    const broken = {
      limits: [],
      calls: [{ name: 'decide', commit: true, charges: [[0, 'a', 1, 0]] }, { name: 'health' }],
    } as const
    expect(server.answer(broken)).toMatchObject([{ error: expect.any(String) }, { value: { ok: true } }])
    const other = { limits: [['all', '[1]']], calls: [] } as const
    expect(() => server.answer(other)).toThrow('another version')
  })

  it('remembers a bounded number of limits', () => {
    const clock = new FakeClock()
    const server = new IpcStoreServer(new MemoryStore({ clock }), new MemorySharedEntries(clock))
    const remember = (count: number): unknown =>
      server.answer({ limits: [['all', `[2,"token-bucket",${count},1000,${count},${count},1]`]], calls: [] })
    for (let count = 1; count <= MAX_SIZES.ipcLimits + 1; count++) remember(count)
    expect(server.rememberedLimits).toBe(MAX_SIZES.ipcLimits)
  })
})
