import { connect } from '@nats-io/transport-node'
import { beforeAll, expect, it } from 'vitest'
import type { SenderCard } from '../../src/admin/schemas/senders.ts'
import { runCommand } from '../src/cli/fake-terminal.ts'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { startNats } from '../support/nats.ts'
import { until } from '../support/wait.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

const POLICY = `dialect: nats
rules:
  - { name: orders, topic: "orders.>", per: client, limit: 3/day, exceeded: drop }
`

it('operators see, ban and count the clients of a NATS gateway', async () => {
  using folder = new Folder()
  await using server = await startNats()
  const admin = `unix:${folder.path}/admin.sock`
  await using gateway = startCommand(
    ...['gateway', folder.file('policy.yaml', POLICY), '--upstream', server.url, '--port', '0'],
    ...['--admin', admin, '--health', '0'],
  )
  const { port, msg } = await logged(gateway, /ready: /)
  const metricsUrl = /http:\S+\/ready/.exec(String(msg))![0].replace('ready', 'metrics')
  const ask = async <T>(...args: readonly string[]): Promise<T> => {
    const { exitCode, out, err } = await runCommand([...args, '--to', admin, '--json'], {
      env: { HOME: folder.path },
    })
    expect(exitCode, err).toBe(0)
    return JSON.parse(out) as T
  }
  const readMetrics = async (): Promise<string> => (await fetch(metricsUrl)).text()
  const url = `nats://127.0.0.1:${port}`
  const [d7, d8] = await Promise.all([
    connect({ servers: url, name: 'd7', user: 'ann', reconnectTimeWait: 20, maxReconnectAttempts: -1 }),
    connect({ servers: url, name: 'd8' }),
  ])
  for (let n = 0; n < 5; n++) d7.publish('orders.a', 'x')
  await d7.flush()

  const card = await ask<SenderCard>('who', 'client:d7')
  expect(card).toMatchObject({
    ...{ connected: true, identity: { client: 'd7', user: 'ann', ip: '127.0.0.1' } },
    ...{ limits: [{ rule: 'orders', limit: 3, remaining: 0 }], refusals: [{ rule: 'orders' }] },
  })
  expect((await ask<SenderCard>('who', 'client:d9')).connected).toBe(false)
  const metrics = await readMetrics()
  expect(metrics).toMatch(/^topicgate_gateway_connections 2$/m)
  expect(metrics).toMatch(/^topicgate_outcomes_total\{rule="orders",outcome="deliver"\} 3$/m)
  expect(metrics).toMatch(/^topicgate_outcomes_total\{rule="orders",outcome="drop"\} 2$/m)

  await ask('ban', 'client:d7', '--reason', 'flood')
  // The client does not come in again, as the server would say it.
  expect(await d7.closed()).toMatchObject({ message: expect.stringMatching(/authorization/i) })
  await until(async () => /^topicgate_gateway_connections 1$/m.test(await readMetrics()))
  expect(await ask<SenderCard>('who', 'client:d7')).toMatchObject({
    ...{ connected: false, bans: [{ reason: 'flood' }] },
  })
  await d8.flush()
  expect(d8.isClosed()).toBe(false)

  await ask('unban', 'client:d7', '--reason', 'over')
  const again = await until(() => connect({ servers: url, name: 'd7', reconnect: false }))
  await Promise.all([again.close(), d8.close()])
})
