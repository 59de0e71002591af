import { createHmac } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { openAnalyticsStore } from '../../src/cli/monitoring/open-analytics-store.ts'
import { SILENT } from '../../src/core/logger.ts'
import { clusterSnapshot, MemoryStore, openStore, systemClock } from '../../src/index.ts'
import { Folder } from '../src/cli/folder.ts'
import { CLI, ensureBuilt } from '../support/built.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startNats } from '../support/nats.ts'
import { type Program, startNode } from '../support/program.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/wait.ts'
import { logged } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

const LIMIT = 'rules: [{ name: all, topic: t/#, per: client, limit: 5/day, exceeded: drop }]'

/** Long, so that a busy machine fails no test. */
const TIMEOUT_MS = 20_000

/** Returns a policy's store that waits long for its server. */
function patient(url: string): string {
  return `{ url: '${url}', timeout: ${TIMEOUT_MS}ms }`
}

function startBroker(args: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
  return startNode([CLI, 'broker', ...args, '--port', '0'], { timeoutMs: 60_000, env })
}

async function portOf(broker: Program): Promise<number> {
  return Number((await logged(broker, /ready/)).port)
}

async function flood(broker: Program, clientId: string, count = 20): Promise<void> {
  await using client = await connectClient({ port: await portOf(broker), clientId })
  for (let n = 0; n < count; n++) await client.publish('t/1', 'x', { qos: 1 })
}

async function end(broker: Program): Promise<void> {
  broker.signal('SIGTERM')
  expect((await broker.ended).code).toBe(0)
}

describe('topicgate broker --host', () => {
  it('says that only this machine can connect where none is given', async () => {
    using folder = new Folder()
    await using broker = startBroker([folder.file('policy.yaml', LIMIT)])
    expect(await logged(broker, /only this machine can connect/)).toMatchObject({ host: '127.0.0.1' })
    await end(broker)
  })

  it('says nothing of it where others can connect', async () => {
    using folder = new Folder()
    await using broker = startBroker([folder.file('policy.yaml', LIMIT), '--host', '0.0.0.0'])
    await portOf(broker)
    await end(broker)
    expect((await broker.ended).stderr + (await broker.ended).stdout).not.toContain('only this machine')
  })
})

describe('topicgate broker --notices', () => {
  it.each([
    ['the flag and a topic', ['--notices', '$why/{client}'], {}, '$why/c1'],
    ['the environment', [], { TOPICGATE_NOTICES: 'on' }, '$topicgate/c1/limits'],
  ] as const)('tells a refused client why, by %s', async (_, flags, env, topic) => {
    using folder = new Folder()
    await using broker = startBroker([folder.file('policy.yaml', LIMIT), ...flags], env)
    await using client = await connectClient({ port: await portOf(broker), clientId: 'c1' })
    await client.subscribe(topic, 0)
    for (let n = 0; n < 6; n++) await client.publish('t/1', 'x', { qos: 1 })
    const [notice] = await client.received(1)
    expect(notice!.topic).toBe(topic)
    expect(JSON.parse(notice!.text)).toMatchObject({ rule: 'all', limit: 5, remaining: 0 })
  })
})

describe('topicgate broker --audit-log', () => {
  it.each(['SQLite', 'Redis', 'NATS'])(
    'writes who was banned and why; a ban on %s outlives the broker',
    async name => {
      using folder = new Folder()
      await using redis = name === 'Redis' ? await startRedis() : undefined
      await using nats = name === 'NATS' ? await startNats({ jetstream: true }) : undefined
      const store = redis?.url ?? nats?.url ?? `sqlite:${join(folder.path, 'limits.db')}`
      const penalties = 'penalties: { block: 1h, after: 3 refusals in 1m }'
      const policy = folder.file('policy.yaml', `store: ${patient(store)}\n${penalties}\n${LIMIT}`)
      const log = join(folder.path, 'audit.jsonl')
      await using first = startBroker([policy, '--audit-log', log])
      await flood(first, 'bad', 8)
      await logged(first, /ban added/)
      await until(() => readFileSync(log, 'utf8').endsWith('\n'))
      const shared = await openStore({ url: store, timeoutMs: TIMEOUT_MS })
      await until(async () => (await shared.sharedEntries!.list()).length === 1)
      await shared.close()
      first.signal('SIGKILL')
      await first.ended
      const [line, ...more] = readFileSync(log, 'utf8').trimEnd().split('\n')
      expect(more).toEqual([])
      expect(JSON.parse(line!)).toMatchObject({
        ...{ kind: 'ban', action: 'added', id: 'client:bad', by: 'penalties', reason: 'refused 3 times' },
      })
      expect(statSync(log).mode & 0o777).toBe(0o600)

      await using second = startBroker([policy], { TOPICGATE_AUDIT_LOG: log })
      const port = await portOf(second)
      await expect(connectClient({ port, clientId: 'bad', reconnectPeriod: 0 })).rejects.toThrow()
      await using other = await connectClient({ port, clientId: 'good' })
      expect(other.client.connected).toBe(true)
      await end(second)
      // Nothing was said by this one.
      expect(readFileSync(log, 'utf8').trimEnd().split('\n')).toHaveLength(1)
    },
  )
})

describe('topicgate broker --alerts-webhook', () => {
  it('posts alerts, signed with a secret that no log shows', async () => {
    const posted: { headers: IncomingHttpHeaders; body: string }[] = []
    const receiver = createServer((request, response) => {
      let body = ''
      request.on('data', chunk => {
        body += chunk
      })
      request.on('end', () => {
        posted.push({ headers: request.headers, body })
        response.end()
      })
    })
    await new Promise<void>(resolve => receiver.listen(0, '127.0.0.1', resolve))
    const { port } = receiver.address() as AddressInfo
    using folder = new Folder()
    const redis = await startRedis()
    const policy = `store: { url: "${redis.url}", timeout: 100ms, breaker: { threshold: 1 } }\n${LIMIT}`
    const secret = 'a-secret-of-the-test'
    await using broker = startBroker(
      [
        ...[folder.file('policy.yaml', policy), '--log-level', 'trace'],
        ...['--alerts-webhook', `http://127.0.0.1:${port}/in`],
      ],
      { TOPICGATE_ALERTS_SECRET: secret },
    )
    await portOf(broker)
    await redis.stop('SIGKILL')
    await flood(broker, 'c1', 3)
    await until(() => posted.length > 0, { timeoutMs: 60_000 })
    const [{ headers, body }] = posted as [(typeof posted)[0]]
    expect(JSON.parse(body)).toMatchObject({ name: 'breaker_open', severity: 'critical', state: 'firing' })
    const [, seconds, signature] = /^t=(\d+),v1=([0-9a-f]+)$/.exec(String(headers['topicgate-signature']))!
    expect(signature).toBe(createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex'))
    await end(broker)
    expect(`${broker.stdout}${broker.stderr}`).not.toContain(secret)
    receiver.close()
    receiver.closeAllConnections()
  })
})

describe('topicgate broker --analytics-store', () => {
  it.each([
    ['SQLite, the policy says', 'SQLite', 'policy'],
    ['Redis of its own', 'Redis', 'environment'],
  ])('leaves what all nodes have counted in %s', async (_, kind, by) => {
    using folder = new Folder()
    await using redis = kind === 'Redis' ? await startRedis() : undefined
    const url = redis?.url ?? `sqlite:${join(folder.path, 'limits.db')}`
    const policy = folder.file('policy.yaml', by === 'policy' ? `store: ${patient(url)}\n${LIMIT}` : LIMIT)
    const env = by === 'environment' ? { TOPICGATE_ANALYTICS_STORE: url } : {}
    let told: unknown
    for (const clientId of ['roaming', 'roaming', 'other']) {
      await using broker = startBroker([policy], env as Readonly<Record<string, string>>)
      await flood(broker, clientId)
      await end(broker)
      told = await logged(broker, /"analytics of the last hour of all nodes"/)
    }
    const store = await openStore({ url, timeoutMs: TIMEOUT_MS })
    const { snapshots } = await openAnalyticsStore('policy', { store, clock: systemClock }, SILENT)
    const { uniqueClients, total, topBlocked } = await clusterSnapshot(snapshots!, '24h', systemClock)
    expect([total, uniqueClients]).toEqual([63, 2])
    // Three connects; and a store they share has counted on where the first broker ended.
    const blocked = { roaming: by === 'policy' ? 35 : 30, other: 15 }
    expect(topBlocked.clients.list).toEqual([
      { name: 'roaming', count: blocked.roaming },
      { name: 'other', count: blocked.other },
    ])
    expect(told).toMatchObject({ total, uniqueClients, topBlocked })
    await store.close()
  })

  it('leaves nothing for `none`', async () => {
    using folder = new Folder()
    const url = `sqlite:${join(folder.path, 'limits.db')}`
    const policy = folder.file('policy.yaml', `store: ${patient(url)}\n${LIMIT}`)
    await using broker = startBroker([policy, '--analytics-store', 'none'])
    await flood(broker, 'c')
    await end(broker)
    const store = await openStore({ url, timeoutMs: TIMEOUT_MS })
    const { snapshots } = await openAnalyticsStore(undefined, { store, clock: systemClock }, SILENT)
    expect(await snapshots!.list()).toEqual([])
    await store.close()
  })

  it('is nowhere by default where the policy counts in memory', async () => {
    const store = new MemoryStore()
    expect(await openAnalyticsStore(undefined, { store, clock: systemClock }, SILENT)).toMatchObject({
      snapshots: undefined,
    })
    await store.close()
  })
})

describe('topicgate broker', () => {
  it.each([
    [
      ['--notices', 'limits/{client}'],
      {},
      '--notices: "limits/{client}" is not a notice topic (write $topicgate/{client}/limits)',
    ],
    [
      ['--audit-log', '/nowhere/at/all.jsonl'],
      {},
      'cannot write to /nowhere/at/all.jsonl: ENOENT (choose another with --audit-log, in a folder that is there and may be written to)',
    ],
    [
      ['--alerts-webhook', 'ftp://u:hidden@host/x'],
      {},
      '--alerts-webhook is not an http or https URL (write https://host/path, without user and password)',
    ],
    [
      ['--alerts-webhook', 'https://u:hidden@host/x'],
      {},
      '--alerts-webhook is not an http or https URL (write https://host/path, without user and password)',
    ],
    [
      [],
      { TOPICGATE_ALERTS_WEBHOOK: 'https://host/x' },
      '--alerts-webhook needs a secret to sign with (set TOPICGATE_ALERTS_SECRET, else anyone could send alerts)',
    ],
    [
      ['--analytics-store', 'nats://u:hidden@host'],
      {},
      'the value of --analytics-store cannot be used: it is neither SQLite nor Redis (write sqlite:FILE, redis://HOST, policy for the store of the policy, or none)',
    ],
    [
      [],
      { TOPICGATE_ANALYTICS_STORE: 'policy' },
      "the value of --analytics-store cannot be used: the policy's store keeps no analytics: it is memory (write sqlite:FILE, redis://HOST, policy for the store of the policy, or none)",
    ],
  ])('does not start with %s, and says what to write', async (flags, env, words) => {
    using folder = new Folder()
    await using broker = startBroker(
      [folder.file('policy.yaml', LIMIT), ...flags],
      env as Readonly<Record<string, string>>,
    )
    expect(await broker.ended).toMatchObject({ code: 2, stderr: `error: ${words}\n` })
    expect(broker.stdout).not.toContain('hidden')
  })
})
