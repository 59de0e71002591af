import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLimit } from '../../../src/algorithms/create-limit.ts'
import { MemoryStore } from '../../../src/stores/memory/memory-store.ts'
import { openStore } from '../../../src/stores/open-store.ts'
import { ResilientStore } from '../../../src/stores/resilient/resilient-store.ts'
import { FakeClock } from '../../support/fake-clock.ts'

let folder: string
let clock: FakeClock
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'topicgate-open-'))
  clock = new FakeClock()
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const limit = createLimit({ name: 'ten', algorithm: 'token-bucket', count: 10, periodMs: 60_000 })
/** Long, so that a busy machine fails no test. */
const timeoutMs = 20_000
const one = [{ limit, key: 'k', cost: 1 }]

describe('openStore', () => {
  it('opens memory without a wrapper', async () => {
    const store = await openStore('memory', { clock })
    expect(store).toBeInstanceOf(MemoryStore)
    await store.close()
  })

  it('wraps all others with a timeout, a breaker and a fallback, as the specification says', async () => {
    const breaker = { threshold: 1, recoveryMs: 1_000, healthEveryMs: 500 }
    const store = await openStore(
      { url: `sqlite:${folder}/a.db`, fallback: 'deny', breaker, timeoutMs },
      { clock },
    )
    expect(store).toBeInstanceOf(ResilientStore)
    expect(await store.decide(one, { commit: true })).toMatchObject([{ allowed: true, remaining: 9 }])
    expect(await store.health()).toMatchObject({ ok: true, state: 'closed', fallback: 'deny' })
    await store.close()
    expect(clock.pending).toBe(0)
  })

  it('adds leases if they are requested', async () => {
    const url = `sqlite:${folder}/b.db`
    const store = await openStore({ url, lease: { units: 4, ttlMs: 1_000 }, nodes: 2, timeoutMs }, { clock })
    expect(store.name).toBe('leased sqlite')
    expect(await store.decide(one, { commit: true })).toMatchObject([{ allowed: true }])
    const beside = await openStore({ url, timeoutMs }, { clock })
    // Three units of the lease of four are still held by the first node.
    expect(await beside.decide(one, { commit: false })).toMatchObject([{ remaining: 5 }])
    await store.close()
    expect(await beside.decide(one, { commit: false })).toMatchObject([{ remaining: 8 }])
    await beside.close()
  })

  it.each([
    ['nats://:secret@', 'TOPICGATE_STORE', 'the URL of NATS cannot be read'],
    ['mysql://:secret@host', 'TOPICGATE_POLICY', '"mysql" is not a store'],
    ['', 'TOPICGATE_POLICY', '"" is not a store'],
  ])('refuses %s without telling its password', async (url, code, text) => {
    const refused = expect(openStore(url)).rejects
    await refused.toMatchObject({ code, message: expect.stringContaining(text) })
    await expect(openStore(url)).rejects.not.toThrow('secret')
  })
})
