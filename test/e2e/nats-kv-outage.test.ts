import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectNew } from '@nats-io/transport-node'
import { connect as connectOld } from 'nats'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLimit } from '../../src/algorithms/index.ts'
import { Gate } from '../../src/gate/gate.ts'
import type { NatsKvStore } from '../../src/stores/nats-kv/index.ts'
import { connectNatsKv, connectNatsStream } from '../../src/stores/nats-kv/open.ts'
import { startNats } from '../support/nats.ts'
import { freePort } from '../support/ports.ts'
import { until } from '../support/wait.ts'

const limit = createLimit({ name: 'r', algorithm: 'token-bucket', count: 1_000, periodMs: 3_600_000 })
const one = { limit, key: 'k', cost: 1 }
const COMMIT = { commit: true }

const isOk = (store: NatsKvStore) => async (): Promise<boolean> => (await store.health()).ok

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'topicgate-nats-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Loads only one of the packages. */
const only = (name: string, connect: unknown) => async (asked: string) => {
  if (asked !== name) throw new Error(`${asked} is not there`)
  return { connect }
}
const PACKAGES = {
  '@nats-io/transport-node': only('@nats-io/transport-node', connectNew),
  nats: only('nats', connectOld),
}

describe('a NATS server', () => {
  it.each(Object.entries(PACKAGES))(
    'that is killed and comes back knows what was counted: through %s',
    async (name, load) => {
      const port = await freePort()
      const args = ['--store_dir', join(folder, name.replace(/\W/g, ''))]
      let server = await startNats({ jetstream: true, port, args })
      const store = await connectNatsKv(server.url, { load, timeoutMs: 10_000 })
      await until(isOk(store))
      expect((await store.decide([one], COMMIT))[0]!.remaining).toBe(999)
      await server.stop('SIGKILL')
      await until(async () => !(await store.health()).ok)
      for (let times = 0; times < 100; times++) {
        await expect(store.decide([one], COMMIT)).rejects.toMatchObject({ name: 'StoreError' })
      }
      server = await startNats({ jetstream: true, port, args })
      await until(isOk(store))
      // Nothing of what was rejected is charged later.
      expect((await store.decide([one], COMMIT))[0]!.remaining).toBe(998)
      await store.close()
      await server.stop()
    },
  )

  it('that comes back empty gets its bucket again', async () => {
    const port = await freePort()
    let server = await startNats({ jetstream: true, port })
    const store = await connectNatsKv(server.url, { timeoutMs: 10_000, storage: 'memory' })
    await until(isOk(store))
    await store.decide([one], COMMIT)
    await server.stop('SIGKILL')
    server = await startNats({ jetstream: true, port })
    await until(isOk(store))
    // An attempt that fails is charged to no one, and the count begins anew.
    const verdict = await until(async () => (await store.decide([one], COMMIT))[0])
    expect(verdict.remaining).toBe(999)
    await store.close()
    await server.stop()
  })

  it('that answers no more gets rejections in time', async () => {
    await using server = await startNats({ jetstream: true })
    const store = await connectNatsKv(server.url, { timeoutMs: 200 })
    await until(isOk(store))
    await until(() => store.decide([one], COMMIT))
    process.kill(server.pid, 'SIGSTOP')
    const stat = `/proc/${server.pid}/stat`
    // All its threads have to notice; where there is no /proc, a moment will do.
    if (existsSync(stat)) await until(async () => / T /.test(await readFile(stat, 'utf8')))
    else await new Promise(resolve => setTimeout(resolve, 100))
    const keys = Array.from({ length: 300 }, (_, index) => ({ ...one, key: `${index % 20}` }))
    const asked = await Promise.allSettled(keys.map(charge => store.decide([charge], COMMIT)))
    process.kill(server.pid, 'SIGCONT')
    expect(asked.filter(({ status }) => status === 'rejected')).toHaveLength(300)
    await until(isOk(store))
    // They got no further than to read: nothing was taken.
    const verdict = await until(async () => (await store.decide([{ ...one, key: '7' }], COMMIT))[0])
    expect(verdict).toMatchObject({ allowed: true, remaining: 999 })
    await store.close()
  })

  it('that is not there yet is connected to when it comes, by its password; a store that is closed before ends', async () => {
    const port = await freePort()
    const url = `nats://gate:s%3Acret@127.0.0.1:${port}`
    const [store, strict, gone] = [
      await connectNatsKv(url),
      await connectNatsStream(url),
      await connectNatsKv(url),
    ]
    await expect(store.decide([one], COMMIT)).rejects.toThrow('nats: not connected')
    await gone.close()
    await using _server = await startNats({
      jetstream: true,
      port,
      args: ['--user', 'gate', '--pass', 's:cret'],
    })
    await until(isOk(store))
    await until(async () => (await strict.health()).ok)
    expect((await until(async () => (await store.decide([one], COMMIT))[0])).remaining).toBe(999)
    const stranger = await connectNatsKv(`nats://127.0.0.1:${port}`)
    await new Promise(resolve => setTimeout(resolve, 300))
    expect((await stranger.health()).ok).toBe(false)
    for (const each of [store, strict, stranger]) await each.close()
  })

  it('keeps the limits of a policy, exactly and on leases', async () => {
    await using server = await startNats({ jetstream: true })
    const policyOf = (store: object): object => ({
      store: { url: server.url, fallback: 'deny', ...store },
      rules: [{ name: 'all', limit: '40/h' }],
    })
    const message = { topic: 'a', on: 'publish', sender: { client: 'c' }, size: 1 } as const
    const exact = policyOf({ prefix: 'exact' })
    const [first, second] = [await Gate.fromPolicy(exact), await Gate.fromPolicy(exact)]
    let passed = 0
    for (let times = 0; times < 30; times++) {
      for (const gate of [first, second]) {
        const { allowed, fallback } = await gate.check(message)
        expect(fallback).toBeUndefined()
        if (allowed) passed++
      }
    }
    expect(passed).toBe(40)
    await first.close()
    await second.close()

    const lent = await Gate.fromPolicy(policyOf({ prefix: 'lent', lease: { units: 20 }, nodes: 2 }))
    expect(await lent.check(message)).toMatchObject({ allowed: true })
    let synchronous = 0
    for (let times = 0; times < 60; times++) {
      const answer = lent.check(message)
      if (!(answer instanceof Promise) && answer.allowed) synchronous++
      await answer
    }
    expect(synchronous).toBeGreaterThanOrEqual(19)
    await lent.close()
  })
})
