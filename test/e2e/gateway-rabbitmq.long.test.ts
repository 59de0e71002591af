import { connect as connectTcp, type Socket } from 'node:net'
import { MqttClient } from 'mqtt'
import { beforeAll, expect, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startRabbitmq } from '../support/rabbitmq.ts'
import { until } from '../support/wait.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

it('RabbitMQ takes the PROXY header of the gateway, and sees the address of the client', async () => {
  using folder = new Folder()
  await using rabbitmq = await startRabbitmq()
  const policy = folder.file('policy.yaml', 'rules: [{ name: all, per: ip, limit: 3/day, exceeded: drop }]')
  await using gateway = startCommand(
    ...['gateway', policy, '--port', '0', '--upstream', rabbitmq.url, '--send-proxy', 'v2'],
    ...['--proxy-protocol', '--trust-proxy', '127.0.0.1'],
  )
  const port = Number((await logged(gateway, /ready/)).port)

  // Without the header RabbitMQ closes the connection.
  await expect(connectClient({ port: rabbitmq.port })).rejects.toThrow()

  await using subscriber = await connectClient({ port, clientId: 'subscriber' })
  await subscriber.subscribe('t', 1)
  const publish = async (header: string, clientId: string): Promise<void> => {
    // A load balancer in front, which names the client.
    const connectThroughProxy = (): Socket => {
      const socket = connectTcp(port, '127.0.0.1')
      socket.write(header)
      return socket
    }
    const client = new MqttClient(connectThroughProxy, { clientId, reconnectPeriod: 0 })
    await new Promise<void>(resolve => client.once('connect', () => resolve()))
    for (let n = 0; n < 5; n++) await client.publishAsync('t', `${clientId}${n}`, { qos: 1 })
    await client.endAsync(true)
  }
  await publish('PROXY TCP4 192.0.2.7 127.0.0.1 50000 1883\r\n', 'v4-')
  await publish('PROXY TCP6 2001:db8::7 ::1 50000 1883\r\n', 'v6-')
  await until(() => subscriber.messages.length === 6)
  expect(subscriber.messages.map(({ text }) => text)).toEqual([
    'v4-0',
    'v4-1',
    'v4-2',
    'v6-0',
    'v6-1',
    'v6-2',
  ])
  await until(() => /192\.0\.2\.7:0/.test(rabbitmq.output()) && /2001:db8::7/i.test(rabbitmq.output()))
  expect(rabbitmq.output()).toMatch(/MQTT vhost picked|accepting MQTT connection/i)
})
