import { join } from 'node:path'
import { type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { beforeAll, expect, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { type NatsServer, startNats } from '../support/nats.ts'
import { freePort } from '../support/ports.ts'
import { until } from '../support/wait.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

const SERVERS = 3
/** Long, because a cluster elects leaders while it restarts. */
const WAIT = { timeoutMs: 60_000, everyMs: 50 }

interface Member {
  server: NatsServer
  /** Stops it, and starts it again with its port and what it has stored. */
  restart(whileStopped: () => Promise<void>): Promise<void>
}

/** Starts a cluster whose servers keep their streams in a folder. */
async function startCluster(folder: string): Promise<readonly Member[]> {
  const routePorts = await Promise.all(Array.from({ length: SERVERS }, freePort))
  const routes = routePorts.map(port => `nats://127.0.0.1:${port}`).join(', ')
  return Promise.all(
    routePorts.map(async (routePort, index): Promise<Member> => {
      const config = `
server_name: n${index}
jetstream { store_dir: "${join(folder, `n${index}`)}" }
cluster { name: c, listen: "127.0.0.1:${routePort}", routes: [${routes}] }`
      const member = {
        server: await startNats({ config }),
        restart: async (whileStopped: () => Promise<void>): Promise<void> => {
          const { port } = member.server
          await member.server.stop()
          await whileStopped()
          member.server = await startNats({ config, port })
        },
      }
      return member
    }),
  )
}

/** Waits until all servers have all messages. */
async function waitForReplicas(manager: JetStreamManager): Promise<void> {
  await until(
    async () => {
      const { cluster } = await manager.streams.info('orders')
      return cluster?.leader !== undefined && cluster.replicas?.filter(({ current }) => current).length === 2
    },
    { ...WAIT, what: 'the replicas' },
  )
}

it('a JetStream publisher loses no acknowledged message while all servers behind a gateway restart in turn', async () => {
  using folder = new Folder()
  const members = await startCluster(folder.path)
  const rule = '{ name: all, topic: "orders.>", per: client, limit: 10000/s, exceeded: reject }'
  await using gateway = startCommand(
    ...['gateway', folder.file('policy.yaml', `dialect: nats\nrules: [${rule}]\n`), '--port', '0'],
    ...members.flatMap(({ server }) => ['--upstream', server.url]),
  )
  const connections: NatsConnection[] = []
  const open = async (): Promise<NatsConnection> => {
    const connection = await connect({
      servers: `nats://127.0.0.1:${port}`,
      reconnectTimeWait: 50,
      maxReconnectAttempts: -1,
    })
    connections.push(connection)
    return connection
  }
  const { port } = await logged(gateway, /ready/)
  try {
    const publishers = await Promise.all(Array.from({ length: 4 }, open))
    const manager = await until(() => jetstreamManager(publishers[0]!, { timeout: 1_000 }), WAIT)
    await until(
      () => manager.streams.add({ name: 'orders', subjects: ['orders.>'], num_replicas: SERVERS }),
      WAIT,
    )
    await waitForReplicas(manager)

    let isDone = false
    const acknowledged: string[] = []
    const publishing = publishers.map(async (connection, publisher) => {
      const stream = jetstream(connection, { timeout: 1_000 })
      for (let n = 0; !isDone; n++) {
        const text = `${publisher}-${n}`
        await stream.publish('orders.a', text).then(
          () => acknowledged.push(text),
          // While a leader is elected, a client has to publish again.
          () => {},
        )
        await new Promise(resolve => setTimeout(resolve, 5))
      }
    })
    const waitForMore = async (): Promise<void> => {
      const before = acknowledged.length
      await until(() => acknowledged.length >= before + 100, { ...WAIT, what: 'acknowledgements' })
    }
    for (const member of members) {
      await waitForMore()
      await member.restart(waitForMore)
      await waitForReplicas(manager)
    }
    await waitForMore()
    isDone = true
    await Promise.all(publishing)

    const stored = new Set<string>()
    // Its leaders are elected after the last restart.
    const consumer = await until(() => jetstream(publishers[0]!).consumers.get('orders'), WAIT)
    const { messages: count } = (await until(() => manager.streams.info('orders'), WAIT)).state
    for await (const message of await consumer.consume()) {
      stored.add(message.string())
      if (message.info.pending === 0) break
    }
    expect(acknowledged.filter(text => !stored.has(text))).toEqual([])
    expect(count).toBeGreaterThanOrEqual(acknowledged.length)
  } finally {
    await Promise.all(connections.map(connection => connection.close()))
    for (const { server } of members) await server.stop()
  }
})
