import { beforeAll, describe, expect, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { CLI, ensureBuilt } from '../support/built.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { freePort } from '../support/ports.ts'
import { type Program, startNode } from '../support/program.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/wait.ts'
import { logged } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

const POLICY = `
store: { url: "redis://nobody:1", breaker: { threshold: 1, recovery: 300ms, health: 100ms } }
rules:
  - { name: few, per: client, limit: 5/day, exceeded: drop }
`

function start(policy: string, env: Readonly<Record<string, string>>): Program {
  const all = { ...process.env, TOPICGATE_POLICY: policy, TOPICGATE_HEALTH: '0', ...env }
  return startNode([CLI, 'broker', '--port', '0'], { env: all })
}

async function ready(broker: Program): Promise<{ port: number; ready: string }> {
  const { port, msg } = await logged(broker, /"msg":"ready/)
  return { port: Number(port), ready: /http:\S+/.exec(String(msg))![0] }
}

async function passed(port: number, clientId: string): Promise<number> {
  await using subscriber = await connectClient({ port, clientId: `watch-${clientId}` })
  await subscriber.subscribe('t/#', 1)
  await using client = await connectClient({ port, clientId })
  for (let n = 0; n < 8; n++) await client.publish('t/x', String(n), { qos: 1 })
  await subscriber.publish('t/last', 'last', { qos: 1 })
  await until(() => subscriber.messages.at(-1)?.text === 'last')
  return subscriber.messages.length - 1
}

describe('a broker with its limits in Redis', () => {
  it('starts and serves while Redis is down, tells of it, turns to Redis when it comes, and ends cleanly', async () => {
    using folder = new Folder()
    const port = await freePort()
    const url = `redis://:not-a-secret-here@127.0.0.1:${port}`
    await using broker = start(folder.file('policy.yaml', POLICY), {
      TOPICGATE_STORE: url,
      TOPICGATE_STORE_FALLBACK: 'degraded',
    })
    const at = await ready(broker)
    expect(await passed(at.port, 'before')).toBe(2)
    const down = await fetch(at.ready)
    expect([down.status, await down.json()]).toMatchObject([
      200,
      { ready: true, rules: 1, store: { name: 'redis', ok: false, fallback: 'degraded' } },
    ])
    await logged(broker, /the store is unreachable/)
    await using _redis = await startRedis({ port, args: ['--requirepass', 'not-a-secret-here'] })
    // A message it takes to try the store; each client has five by Redis, and two without.
    let tries = 0
    await until(async () => (await passed(at.port, `after-${tries++}`)) === 5, { timeoutMs: 60_000 })
    await logged(broker, /the store decides again/)
    expect(((await (await fetch(at.ready)).json()) as { store: object }).store).toMatchObject({
      ok: true,
      state: 'closed',
    })
    expect((await fetch(at.ready.replace('/ready', '/live'))).status).toBe(200)
    broker.signal('SIGTERM')
    const { code, signal, stdout, stderr } = await broker.ended
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
    expect(stdout).toContain('"msg":"ended"')
    expect(stdout).not.toContain('not-a-secret-here')
  })

  it('lets everything pass where TOPICGATE_ENABLED is false, and says so loudly, once', async () => {
    using folder = new Folder()
    await using broker = start(folder.file('policy.yaml', POLICY), { TOPICGATE_ENABLED: 'false' })
    const { port } = await ready(broker)
    expect(await passed(port, 'anybody')).toBe(8)
    broker.signal('SIGHUP')
    broker.signal('SIGTERM')
    const { code, stdout } = await broker.ended
    expect(code).toBe(0)
    expect(stdout.match(/everything passes/g)).toHaveLength(1)
  })

  it('takes the overlay of its environment', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', POLICY)
    folder.file('policy.prod.yaml', 'store: memory\nrules:\n  - { name: few, limit: 3/day }\n')
    await using broker = start(policy, { TOPICGATE_ENV: 'prod', TOPICGATE_LOG_LEVEL: 'info' })
    const { port } = await ready(broker)
    expect(await passed(port, 'anybody')).toBe(3)
  })
})
