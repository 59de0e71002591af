import { describe, expect, it } from 'vitest'
import { Gate, openStore } from '../../../src/index.ts'
import { openNatsKv } from '../../../src/stores/nats-kv/index.ts'
import { FaultProxy } from '../../support/fault-proxy.ts'
import { startNats } from '../../support/nats.ts'
import { startRedis } from '../../support/redis.ts'

const messageOf = (client: string) => ({ topic: 'a', on: 'publish', sender: { client }, size: 1 }) as const

describe('a busy key', () => {
  it('on a distant Redis takes one round trip per message, however many are pending', async () => {
    await using server = await startRedis()
    await using proxy = await FaultProxy.start(server.port)
    proxy.fault = { latencyMs: 100 }
    const store = await openStore({ url: `redis://127.0.0.1:${proxy.port}`, timeoutMs: 390 })
    const rules = [{ name: 'r', per: 'client', limit: '1000000/h' }]
    const gate = await Gate.fromPolicy({ rules }, { store })
    // The first decision loads the script.
    await gate.check(messageOf('first'))
    const decided = []
    for (let tick = 0; tick < 100; tick++) {
      for (let index = 0; index < 20; index++) decided.push(gate.check(messageOf('busy')))
      await new Promise(resolve => setTimeout(resolve, 10))
    }
    const decisions = await Promise.all(decided)
    expect(decisions.filter(({ fallback }) => fallback).length).toBeLessThan(100)
    await gate.close()
    await store.close()
  })

  it.each(['openStore', 'openNatsKv'] as const)('on NATS uses leases by default: %s', async door => {
    await using server = await startNats({ jetstream: true })
    const timeoutMs = 5_000
    const store = await (door === 'openStore'
      ? openStore({ url: server.url, timeoutMs })
      : openNatsKv(server.url, { timeoutMs }))
    const rules = [{ name: 'r', per: 'client', limit: '1000/h' }]
    const gate = await Gate.fromPolicy({ rules }, { store })
    const decisions = []
    for (let round = 0; round < 40; round++) {
      decisions.push(...(await Promise.all(Array.from({ length: 50 }, () => gate.check(messageOf('busy'))))))
    }
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(1_000)
    expect(decisions.filter(({ fallback }) => fallback)).toHaveLength(0)
    await gate.close()
    await store.close()
  })
})
