import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { connect as connectNats } from '@nats-io/transport-node'
import { beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../src/cli/fake-terminal.ts'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startNats } from '../support/nats.ts'
import type { Program } from '../support/program.ts'
import { until } from '../support/wait.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

function policyOf(rule: string): string {
  return `rules:\n  - { name: all, ${rule}, exceeded: drop }\n`
}

interface Card {
  readonly limits: readonly object[]
  readonly refusals: readonly { readonly count: number }[]
}

interface Primary {
  readonly program: Program
  readonly port: number
  readonly metricsUrl: string
  /** Runs a command of operators. Returns what it prints. */
  run(...args: readonly string[]): Promise<string>
  /** Runs a command of operators. Returns the JSON it prints. */
  ask(...args: readonly string[]): Promise<unknown>
}

async function startGateway(
  folder: Folder,
  policy: string,
  upstream: string,
  ...flags: readonly string[]
): Promise<Primary> {
  const admin = `unix:${folder.path}/admin.sock`
  const program = startCommand(
    ...['gateway', policy, '--upstream', upstream, '--port', '0', '--health', '0', '--workers', '2'],
    ...['--admin', admin, ...flags],
  )
  const { port, msg } = await logged(program, /ready: /)
  const metricsUrl = /http:\S+\/ready/.exec(String(msg))![0].replace('ready', 'metrics')
  const run = async (...args: readonly string[]): Promise<string> =>
    (await runCommand([...args, '--to', admin], { env: { HOME: folder.path } })).out
  const ask = async (...args: readonly string[]): Promise<unknown> => JSON.parse(await run(...args, '--json'))
  return { program, port: Number(port), metricsUrl, run, ask }
}

/** Publishes ten messages from each client, all clients at once. Connections go to the workers in turn. */
async function publishTen(port: number, clientIds: readonly string[]): Promise<void> {
  await Promise.all(
    clientIds.map(async clientId => {
      await using client = await connectClient({ port, clientId })
      await Promise.all(
        Array.from({ length: 10 }, (_, n) => client.publish(`t/${clientId}`, String(n), { qos: 1 })),
      )
    }),
  )
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Bans a client. Returns the nodes that the answer names. */
async function banNodes(
  { ask }: Primary,
  client: string,
): Promise<{ readonly all: readonly string[]; readonly pending: readonly string[] }> {
  const { nodes } = (await ask('ban', `client:${client}`, '--reason', 'test')) as {
    readonly nodes: { readonly confirmed: readonly string[]; readonly pending: readonly string[] }
  }
  return { all: [...nodes.confirmed, ...nodes.pending], pending: nodes.pending }
}

/** Captures 80 messages, while each client publishes ten again and again. */
async function captureFromAll(
  { port, run }: Primary,
  clientIds: readonly string[],
): Promise<readonly { readonly at: number; readonly client: string }[]> {
  let isOver = false
  const capture = run('capture', '--topic', 't/#', '--max', '80', '--reason', 'test').finally(() => {
    isOver = true
  })
  while (!isOver) await publishTen(port, clientIds)
  return (await capture)
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
}

async function readMetric({ metricsUrl }: Primary, line: string): Promise<number> {
  const response = await fetch(metricsUrl)
  const found = (await response.text()).split('\n').find(each => each.startsWith(`${line} `))
  return Number(found?.slice(line.length))
}

describe('topicgate gateway --workers', () => {
  it('keeps a limit of all workers while one is killed, starts another, and ends at SIGTERM', async () => {
    using folder = new Folder()
    await using mosquitto = await startMosquitto()
    const policy = folder.file('policy.yaml', policyOf('per: global, limit: 200/day'))
    const primary = await startGateway(folder, policy, mosquitto.url)
    await using program = primary.program
    await using subscriber = await connectClient({ port: mosquitto.port })
    await subscriber.subscribe('t/#', 1)
    await publishTen(
      primary.port,
      Array.from({ length: 10 }, (_, index) => `a${index}`),
    )
    const { pid } = await logged(program, /"worker":1,.*serves clients/)
    process.kill(Number(pid), 'SIGKILL')
    await logged(program, /a worker has ended/)
    // The killed worker counts once at most: when another has taken its place.
    const early = await banNodes(primary, 'early')
    expect(new Set(early.all).size).toBe(early.all.length)
    await logged(program, new RegExp(`"worker":1,"pid":(?!${pid},).*serves clients`))
    expect(await banNodes(primary, 'late')).toMatchObject({ all: { length: 3 }, pending: [] })
    await publishTen(
      primary.port,
      Array.from({ length: 20 }, (_, index) => `b${index}`),
    )
    await subscriber.publish('t/last', 'last', { qos: 1 })
    await until(() => subscriber.messages.at(-1)?.text === 'last')
    const passed = subscriber.messages.length - 1
    expect(passed).toBeLessThanOrEqual(200)
    // The killed worker held at most its half of a tenth of the limit.
    expect(passed).toBeGreaterThanOrEqual(190)
    expect(await readMetric(primary, 'topicgate_worker_restarts_total')).toBe(1)
    const captured = await captureFromAll(primary, ['c0', 'c1', 'c2', 'c3'])
    expect(captured).toHaveLength(80)
    expect(new Set(captured.map(({ client }) => client)).size).toBe(4)
    expect(captured.map(({ at }) => at)).toEqual(captured.map(({ at }) => at).toSorted((a, b) => a - b))
    program.signal('SIGTERM')
    expect((await program.ended).code).toBe(0)
    expect(isRunning(Number(pid))).toBe(false)
  })

  it('reloads, bans, counts and shows senders as one node, and captures at each worker', async () => {
    using folder = new Folder()
    await using mosquitto = await startMosquitto()
    const policy = folder.file('policy.yaml', policyOf('per: client, limit: 3/day'))
    const capture = join(folder.path, 'day.jsonl.gz')
    const primary = await startGateway(folder, policy, mosquitto.url, '--capture', capture)
    await using program = primary.program
    const clients = ['a', 'b', 'c', 'd']
    await publishTen(primary.port, clients)
    const allowed = 'topicgate_allowed_total{rule="all",scope="client",tier="",reason="ok"}'
    expect(await readMetric(primary, allowed)).toBe(12)
    expect(await readMetric(primary, 'topicgate_gateway_upstream_connects_total{result="connected"}')).toBe(4)
    const card = (await primary.ask('who', 'client:c')) as Card
    expect(card.limits).toMatchObject([{ rule: 'all', remaining: 0 }])
    // Those of a second are one record.
    expect(card.refusals.reduce((sum, { count }) => sum + count, 0)).toBe(7)
    writeFileSync(policy, policyOf('per: client, limit: 5/day'))
    program.signal('SIGHUP')
    await logged(program, /policy reloaded/)
    await publishTen(primary.port, clients)
    expect(await readMetric(primary, allowed)).toBe(20)
    expect(await primary.ask('ban', 'client:a', '--reason', 'test')).toMatchObject({
      persisted: false,
      nodes: { pending: [], confirmed: { length: 3 } },
    })
    const banned = Array.from({ length: 4 }, () => connectClient({ port: primary.port, clientId: 'a' }))
    for (const { status } of await Promise.allSettled(banned)) expect(status).toBe('rejected')
    program.signal('SIGTERM')
    expect((await program.ended).code).toBe(0)
    const lines = [1, 2].flatMap(number => {
      const file = readFileSync(join(folder.path, `day.worker-${number}.jsonl.gz`))
      return gunzipSync(file).toString().trim().split('\n')
    })
    expect(lines.filter(line => line.includes('"on":"publish"'))).toHaveLength(80)
  })

  it('shares a limit among NATS clients, and ends its workers if the primary is killed', async () => {
    using folder = new Folder()
    await using server = await startNats()
    const policy = folder.file('policy.yaml', `dialect: nats\n${policyOf('per: global, limit: 50/day')}`)
    const { program, port } = await startGateway(folder, policy, server.url)
    await using _ = program
    const { pid } = await logged(program, /serves clients/)
    const subscriber = await connectNats({ servers: server.url })
    const received: string[] = []
    subscriber.subscribe('t', { callback: (_, message) => void received.push(message.string()) })
    await subscriber.flush()
    const servers = `nats://127.0.0.1:${port}`
    const clients = await Promise.all(
      Array.from({ length: 4 }, () => connectNats({ servers, reconnect: false })),
    )
    for (const client of clients) {
      for (let n = 0; n < 20; n++) client.publish('t', String(n))
      await client.flush()
    }
    subscriber.publish('t', 'last')
    await until(() => received.at(-1) === 'last')
    expect(received).toHaveLength(51)
    program.signal('SIGKILL')
    await Promise.all(clients.map(client => client.closed()))
    await until(() => !isRunning(Number(pid)))
    await subscriber.close()
  })

  it('reports an error of the start once, with its exit code', async () => {
    using folder = new Folder()
    await using mosquitto = await startMosquitto()
    const policy = folder.file('policy.yaml', policyOf('per: client, limit: 3/day'))
    await using program = startCommand(
      ...['gateway', policy, '--upstream', mosquitto.url, '--port', String(mosquitto.port), '--workers', '2'],
    )
    const { code, stderr } = await program.ended
    expect(code).toBe(69)
    expect(stderr.match(/error: /g)).toHaveLength(1)
    expect(stderr).toContain(`cannot listen at 127.0.0.1:${mosquitto.port}`)
  })
})
