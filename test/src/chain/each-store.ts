import type { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { Gate, type GateOptions, MemoryStore, type PolicySource, type Store } from '../../../src/index.ts'
import { RedisStore } from '../../../src/stores/redis/index.ts'
import { openSqlite } from '../../../src/stores/sqlite/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { type RedisServer, startRedis } from '../../support/redis.ts'
import { openIoredis } from '../../support/redis-clients.ts'
import { storeWithoutFastPath } from './store-without-fast-path.ts'

let client: Redis | undefined
const open = new Set<() => Promise<void>>()

/** Registers hooks that start Redis for the tests of a file, and close the gates of each test. */
export function useStores(): void {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis()
    client = await openIoredis(server.url)
    client.setMaxListeners(0)
  })
  afterEach(async () => {
    for (const close of open) await close()
  })
  afterAll(async () => {
    client?.disconnect()
    await server.stop()
  })
}

/** A moment still to come: Redis forgets by its own clock what ended earlier. */
const NOW_MS = Date.UTC(2100, 0, 1)

let stores = 0

/** Stores on which a gate must come to the same decisions. */
export const STORES = {
  memory: (clock: FakeClock) => new MemoryStore({ clock }),
  stepwise: (clock: FakeClock) => storeWithoutFastPath(new MemoryStore({ clock })),
  sqlite: (clock: FakeClock) => openSqlite(':memory:', { clock }),
  redis: (clock: FakeClock) =>
    new RedisStore({
      client: client!,
      clock,
      prefix: `rules-${++stores}`,
      timeoutMs: 20_000,
      denialCache: 0,
    }),
} satisfies Record<string, (clock: FakeClock) => Store | Promise<Store>>

export type StoreName = keyof typeof STORES
export const STORE_NAMES = Object.keys(STORES) as StoreName[]

export interface OpenGate {
  readonly gate: Gate
  readonly clock: FakeClock
  close(): Promise<void>
}

/** A gate of a policy on one of the stores; both are closed when the test is done, or by `close`. */
export async function gateOn(
  name: StoreName,
  policy: PolicySource = {},
  options: GateOptions = {},
): Promise<OpenGate> {
  const clock = new FakeClock(NOW_MS)
  const store = await STORES[name](clock)
  const gate = await Gate.fromPolicy(policy, { ...options, clock, store })
  const close = async (): Promise<void> => {
    if (!open.delete(close)) return
    await gate.close()
    await store.close()
  }
  open.add(close)
  return { gate, clock, close }
}
