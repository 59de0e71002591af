import { execFile } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient, type TestClient } from '../support/mqtt-client.ts'
import { findBinary } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

const run = promisify(execFile)
const MOSQUITTO_PASSWD = { program: 'mosquitto_passwd', variable: 'TOPICGATE_MOSQUITTO_PASSWD' }
const POLICY = 'rules: [{ name: all, per: client, limit: 10000/s }]'
const ACL = `# anonymous clients
topic read public/#
topic deny public/secret

user root
topic #

user ann
topic read public/#
topic write fleet/+/up
topic deny fleet/7/up
topic only/ann

pattern read to/%u/#
pattern write from/%c
pattern deny to/%u/secret
pattern end
`
const TOPICS = [
  ...['public', 'public/a', 'public/secret', 'fleet/1/up', 'fleet/7/up', 'fleet/1/up/x', 'only/ann'],
  ...['to/ann', 'to/ann/x', 'to/ann/secret', 'to/bob/x', 'from/id-ann', 'from/id-bob', 'other'],
]
const USERS = [undefined, 'ann', 'bob'] as const

/** Users, passwords and ACL in a folder that another user may read. */
async function writeFiles(folder: Folder): Promise<{ passwords: string; acl: string }> {
  const passwords = folder.file('passwords', '')
  const binary = findBinary(MOSQUITTO_PASSWD)
  for (const user of ['root', 'ann', 'bob']) await run(binary, ['-b', passwords, user, user])
  const acl = folder.file('acl', ACL)
  chmodSync(folder.path, 0o755)
  for (const file of [passwords, acl]) chmodSync(file, 0o644)
  return { passwords, acl }
}

function connectAs(port: number, user: string | undefined, clean = true): Promise<TestClient> {
  const login = user === undefined ? {} : { username: user, password: user }
  return connectClient({ port, clientId: `id-${user ?? 'nobody'}`, clean, ...login })
}

/** Returns the topics that each user can publish and read on a broker. */
async function observe(port: number, qos: 0 | 1 | 2): Promise<Record<string, readonly string[]>> {
  const seen: Record<string, readonly string[]> = {}
  const topicsOf = async (client: TestClient): Promise<string[]> => {
    await until(() => client.messages.some(({ topic }) => topic === 'end'))
    return client.messages.map(({ topic }) => topic).filter(topic => topic !== 'end')
  }
  for (const user of USERS) {
    await using root = await connectAs(port, 'root')
    await using client = await connectAs(port, user)
    await root.subscribe('#', qos)
    for (const topic of [...TOPICS, 'end']) await client.publish(topic, 'x', { qos })
    seen[`${user} writes`] = await topicsOf(root)
    await root.client.unsubscribeAsync('#')
    await client.subscribe('#', qos)
    for (const topic of [...TOPICS, 'end']) await root.publish(topic, 'x', { qos })
    seen[`${user} reads`] = await topicsOf(client)
  }
  return seen
}

describe('topicgate broker --acl-file', () => {
  it('gives every user the same topics as mosquitto does, at each QoS, and closes no connection', async () => {
    using folder = new Folder()
    const { passwords, acl } = await writeFiles(folder)
    await using mosquitto = await startMosquitto({
      config: [`password_file ${passwords}`, `acl_file ${acl}`],
    })
    await using broker = startCommand(
      ...['broker', folder.file('policy.yaml', POLICY), '--port', '0', '--allow-anonymous'],
      ...['--password-file', passwords, '--acl-file', acl],
    )
    const port = Number((await logged(broker, /ready/)).port)
    const expected = await observe(mosquitto.port, 1)
    expect(expected['ann writes']).toEqual(['fleet/1/up', 'only/ann', 'from/id-ann'])
    expect(expected['undefined reads']).toEqual(['public', 'public/a'])
    for (const qos of [0, 1, 2] as const) expect(await observe(port, qos), `QoS ${qos}`).toEqual(expected)
    expect(await logged(broker, /not_authorized/)).toMatchObject({ reason: 'not_authorized' })
  })

  it('withholds what a persistent session may not read, and loses nothing else of it', async () => {
    using folder = new Folder()
    const { passwords, acl } = await writeFiles(folder)
    await using broker = startCommand(
      ...['broker', folder.file('policy.yaml', POLICY), '--port', '0'],
      ...['--password-file', passwords, '--acl-file', acl],
    )
    const port = Number((await logged(broker, /ready/)).port)
    await using root = await connectAs(port, 'root')
    const sent = ['public/1', 'other', 'public/2', 'public/secret', 'to/bob/x', 'public/3']
    const allowed = ['public/1', 'public/2', 'public/secret', 'public/3']
    {
      await using ann = await connectAs(port, 'ann', false)
      await ann.subscribe('#', 1)
      for (const topic of sent) await root.publish(topic, 'live', { qos: 1 })
      await ann.received(allowed.length)
      expect(ann.messages.map(({ topic }) => topic)).toEqual(allowed)
      // Messages that are not sent yet wait in the session without an id, beside refused ones.
      const burst = Array.from({ length: 200 }, (_, n) => (n % 2 === 0 ? `public/${n}` : `other/${n}`))
      await Promise.all(burst.map(topic => root.publish(topic, 'burst', { qos: 1 })))
      await ann.received(allowed.length + 100)
      expect(ann.messages.slice(allowed.length).map(({ topic }) => topic)).toEqual(
        burst.filter(topic => topic.startsWith('public')),
      )
    }
    for (const topic of [...sent, 'end']) await root.publish(topic, 'kept', { qos: 1 })
    await using ann = await connectAs(port, 'ann', false)
    await until(() => ann.messages.some(({ topic }) => topic === 'end'))
    expect(ann.messages.map(({ topic, text }) => `${topic} ${text}`)).toEqual(
      [...allowed, 'end'].map(topic => `${topic} kept`),
    )
  })

  it('a refused publish is not counted by rules, a refused will is not published', async () => {
    using folder = new Folder()
    const { passwords, acl } = await writeFiles(folder)
    const policy = 'rules: [{ name: all, per: client, limit: 3/day, exceeded: drop, for: { users: [ann] } }]'
    await using broker = startCommand(
      ...['broker', folder.file('policy.yaml', policy), '--port', '0'],
      ...['--password-file', passwords, '--acl-file', acl],
    )
    const port = Number((await logged(broker, /ready/)).port)
    await using root = await connectAs(port, 'root')
    await root.subscribe('#', 1)
    {
      await using ann = await connectClient({
        ...{ port, username: 'ann', password: 'ann' },
        will: { topic: 'other', payload: Buffer.from('will'), qos: 1, retain: false },
      })
      for (let n = 0; n < 5; n++) await ann.publish('other', 'x', { qos: 1 })
      for (let n = 0; n < 4; n++) await ann.publish('fleet/1/up', String(n), { qos: 1 })
    }
    await root.received(3)
    await root.publish('end', 'x', { qos: 1 })
    await until(() => root.messages.at(-1)?.topic === 'end')
    expect(root.messages.map(({ text }) => text)).toEqual(['0', '1', '2', 'x'])
  })

  it('a changed file takes effect on connected clients; a broken one leaves the old one in force', async () => {
    using folder = new Folder()
    const { passwords, acl } = await writeFiles(folder)
    await using broker = startCommand(
      ...['broker', folder.file('policy.yaml', POLICY), '--port', '0'],
      ...['--password-file', passwords, '--acl-file', acl],
    )
    const port = Number((await logged(broker, /ready/)).port)
    await using root = await connectAs(port, 'root')
    await using ann = await connectAs(port, 'ann')
    await root.subscribe('#', 1)
    await ann.publish('other', '1', { qos: 1 })
    writeFileSync(acl, `${ACL}pattern write other\n`)
    broker.signal('SIGHUP')
    await logged(broker, /ACL file reloaded/)
    await ann.publish('other', '2', { qos: 1 })
    writeFileSync(acl, `${ACL}topic allow other\nallow\n`)
    broker.signal('SIGHUP')
    expect(await logged(broker, /not a line of an ACL file/)).toMatchObject({ file: acl, level: 50 })
    await logged(broker, /the ACL file was not reloaded, the old one stays/)
    await ann.publish('other', '3', { qos: 1 })
    await root.received(2)
    expect(root.messages.map(({ text }) => text)).toEqual(['2', '3'])
  })
})
