import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AuditRecord } from '../../src/admin/audit-log.ts'
import type { SenderCard } from '../../src/admin/schemas/senders.ts'
import { runCommand } from '../src/cli/fake-terminal.ts'
import { CLI, ensureBuilt } from '../support/built.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startNats } from '../support/nats.ts'
import { type Program, startNode } from '../support/program.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/wait.ts'

interface SharedStore {
  readonly url: string
  end(): PromiseLike<void> | void
}

const STORES: Readonly<Record<string, (folder: string) => Promise<SharedStore>>> = {
  SQLite: async folder => ({ url: `sqlite:${join(folder, 'limits.db')}`, end: () => {} }),
  async Redis() {
    const server = await startRedis()
    return { url: server.url, end: () => server[Symbol.asyncDispose]() }
  },
  async NATS() {
    const server = await startNats({ jetstream: true })
    return { url: server.url, end: () => server[Symbol.asyncDispose]() }
  },
}

/** A broker with an admin API. */
interface Node {
  readonly program: Program
  readonly mqttPort: number
  readonly adminUrl: string
  readonly auditFile: string
}

describe.for(Object.keys(STORES))('an evening of an operator, with nodes on %s', name => {
  const folder = mkdtempSync(join(tmpdir(), 'topicgate-evening-'))
  const tokenFile = join(folder, 'tokens')
  let store: SharedStore
  let nodes: Node[] = []
  let token = ''

  async function startBroker(id: string): Promise<Node> {
    const auditFile = join(folder, `${id}.jsonl`)
    const args = ['broker', join(folder, 'policy.yaml'), '--port', '0', '--audit-log', auditFile]
    const admin = ['--admin', '127.0.0.1:0', '--admin-tokens', tokenFile, '--analytics-store', 'none']
    const program = startNode([CLI, ...args, ...admin], { timeoutMs: 250_000 })
    const [, mqttPort, adminUrl] = await program.line(/ready: mqtt:\/\/127\.0\.0\.1:(\d+) (http:\S+?)"/)
    return { program, mqttPort: Number(mqttPort), adminUrl: adminUrl!, auditFile }
  }

  /** Runs a command at a node and returns the document that it prints. */
  async function ask<T>(node: Node, ...args: readonly string[]): Promise<T> {
    const env = { TOPICGATE_ADMIN: node.adminUrl, TOPICGATE_TOKEN: token }
    const { exitCode, out } = await runCommand([...args, '--json'], { env })
    expect([exitCode, args.join(' ')]).toEqual([0, args.join(' ')])
    return JSON.parse(out) as T
  }

  beforeAll(async () => {
    ensureBuilt()
    store = await STORES[name]!(folder)
    const rule = '{ name: per-client, per: client, limit: 20/s burst 20, exceeded: drop }'
    writeFileSync(
      join(folder, 'policy.yaml'),
      `version: 1\nstore: { url: "${store.url}", timeout: 5s }\nrules: [${rule}]\n`,
    )
    const created = await runCommand(['token', 'create', 'ann', '--role', 'operator', '--tokens', tokenFile])
    token = created.out.trim()
    nodes = [await startBroker('a'), await startBroker('b')]
    await until(
      async () =>
        (await ask<{ status: { nodes: string[] } }>(nodes[0]!, 'top', '--once')).status.nodes.length === 2,
    )
  })
  afterAll(async () => {
    for (const { program } of nodes) {
      program.signal('SIGKILL')
      await program.ended
    }
    await store.end()
    rmSync(folder, { recursive: true, force: true })
  })

  it('goes from an alert to an override that acts on the other node, ends by itself and stands in the audit log', async () => {
    const [a, b] = nodes as [Node, Node]
    const flooder = await connectClient({ port: a.mqttPort, clientId: 'd7' })
    const flood = setInterval(() => {
      for (let count = 0; count < 20; count++) flooder.client.publish('fleet/d7', 'x')
    }, 50)
    try {
      const firing = async (): Promise<readonly { readonly name: string }[]> =>
        (await ask<{ firing: { name: string }[] }>(a, 'alerts')).firing
      await until(async () => (await firing()).some(({ name: alert }) => alert === 'block_rate_warning'), {
        what: 'the alert',
        everyMs: 500,
      })
      const { senders } = await ask<{ senders: { id: string }[] }>(a, 'top', '--once')
      expect(senders[0]?.id).toBe('client:d7')
      const card = await ask<SenderCard>(a, 'who', 'client:d7')
      expect([card.connected, card.limits[0]?.limit]).toEqual([true, 20])
      expect(card.refusals[0]?.text).toContain('left under per-client')
    } finally {
      clearInterval(flood)
      await flooder.close()
    }
    const limitOnB = async (): Promise<number | undefined> =>
      (await ask<SenderCard>(b, 'who', 'client:d7')).limits.find(({ rule }) => rule === 'per-client')?.limit
    expect(await limitOnB()).toBe(20)
    const reason = ['--reason', 'burst after a power cut']
    const set = await ask<{ persisted: boolean; nodes: { confirmed: string[]; pending: string[] } }>(
      a,
      'override',
      'set',
      'client:d7',
      '--limit',
      'x2',
      '--for',
      '5s',
      ...reason,
    )
    // The answer waits for the other node for at most a second. No wait here: the override is in effect there by then.
    expect([set.persisted, set.nodes.confirmed.length, set.nodes.pending]).toEqual([true, 2, []])
    expect(await limitOnB()).toBe(40)
    await until(async () => (await limitOnB()) === 20, { what: 'the end of the override', everyMs: 100 })
    const { records } = await ask<{ records: AuditRecord[] }>(a, 'audit')
    expect(records).toMatchObject([
      { kind: 'override', action: 'expired', id: 'client:d7', by: 'clock' },
      { kind: 'override', action: 'added', by: 'ann', ip: '127.0.0.1', reason: 'burst after a power cut' },
    ])
  })

  it('leaves every answered change in the audit log, also if the broker is killed', async () => {
    const [a] = nodes as [Node]
    await ask(a, 'ban', 'client:d8', '--reason', 'last words')
    a.program.signal('SIGKILL')
    await a.program.ended
    const lines = readFileSync(a.auditFile, 'utf8').trimEnd().split('\n')
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({
      action: 'added',
      id: 'client:d8',
      by: 'ann',
      reason: 'last words',
    })
    const again = await startBroker('a')
    nodes[0] = again
    const { records } = await ask<{ records: AuditRecord[] }>(again, 'audit')
    expect(records[0]).toMatchObject({ action: 'added', id: 'client:d8', by: 'ann' })
    expect(records.map(({ id }) => id)).toContain('client:d7')
  })
})
