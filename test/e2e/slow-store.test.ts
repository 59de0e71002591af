import { expect, it } from 'vitest'
import { Gate, limit, openStore } from '../../src/index.ts'
import { eventually, startBroker, subscribeAll } from '../brokers/aedes/harness.ts'
import { FaultProxy } from '../support/fault-proxy.ts'
import { startRedis } from '../support/redis.ts'

it('a broker whose store takes longer than a second goes by it, where its timeout allows for that', async () => {
  await using redis = await startRedis()
  await using proxy = await FaultProxy.start(redis.port)
  const url = `redis://127.0.0.1:${proxy.port}`
  const store = await openStore({ url, timeoutMs: 10_000, fallback: 'deny' })
  const gate = new Gate({ store }).use('t/#', limit({ name: 'few', rate: '3/day', exceeded: 'drop' }))
  const running = await startBroker({ gate })
  try {
    const seen = await subscribeAll(await running.connect(), 't/#', 1)
    const sender = await running.connect()
    // There and back: 1.4 s.
    proxy.fault = { latencyMs: 700 }
    const sinceMs = performance.now()
    await Promise.all(Array.from({ length: 8 }, (_, n) => sender.publishAsync('t/x', String(n), { qos: 1 })))
    expect(performance.now() - sinceMs).toBeGreaterThan(1_300)
    // aedes acknowledges before it hands on.
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['0', '1', '2']))
    expect(running.limits.stats()).toMatchObject({ dropped: 5, timeouts: 0, fallbacks: 0 })
  } finally {
    await running.close()
    await store.close()
  }
})
