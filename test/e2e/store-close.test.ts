import { describe, expect, it } from 'vitest'
import { Gate, openStore } from '../../src/index.ts'
import { startNats } from '../support/nats.ts'
import { freePort } from '../support/ports.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/wait.ts'

const message = { topic: 'a', on: 'publish', sender: { client: 'c' }, size: 1 } as const
/** Closing takes 100 ms at most; the rest is for a busy machine. A server that does not answer would take for ever. */
const MOST_MS = 10_000

/** How long a gate and its store take to close. */
async function closing(gate: Gate): Promise<number> {
  const startMs = performance.now()
  await gate.close()
  await gate.store.close()
  return performance.now() - startMs
}

async function openGate(url: string, lease: 'auto' | 'none'): Promise<Gate> {
  const store = await openStore({ url, lease, breaker: { threshold: 1 } })
  return Gate.fromPolicy({ rules: [{ name: 'r', per: 'client', limit: '100/s' }] }, { store })
}

const servers = [
  ['redis', 'none'],
  ['redis', 'auto'],
  ['nats', 'none'],
  ['nats', 'auto'],
] as const

describe.each(servers)('a gate on %s, leases %s', (kind, lease) => {
  const start = () => (kind === 'redis' ? startRedis() : startNats({ jetstream: true }))

  it.each(['SIGKILL', 'SIGSTOP'] as const)('closes at once after its server had %s', async signal => {
    await using server = await start()
    const gate = await openGate(server.url, lease)
    await until(async () => (await gate.check(message)).fallback === undefined)
    process.kill(server.pid, signal)
    let asked = 0
    await until(
      async () => (await gate.check({ ...message, sender: { client: `k${asked++}` } })).fallback === true,
    )
    expect(await closing(gate)).toBeLessThan(MOST_MS)
    if (signal === 'SIGSTOP') process.kill(server.pid, 'SIGCONT')
  })

  it('closes at once if the server was never there', async () => {
    const gate = await openGate(`${kind}://127.0.0.1:${await freePort()}`, lease)
    await until(async () => (await gate.check(message)).fallback === true)
    expect(await closing(gate)).toBeLessThan(MOST_MS)
  })
})
