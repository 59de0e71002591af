import { expect, it } from 'vitest'
import { limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { GENERATIONS } from '../nats/client-versions.ts'
import { natsGate, numbers } from '../nats/scene.ts'
import { startGateway } from './harness.ts'
import { RawClient } from './raw-client.ts'

const throttling = (rate: string) => natsGate().use('a.>', limit({ name: 'r', rate, exceeded: 'throttle' }))

it('acknowledgements and replies go before held messages, requests and PING do not', async () => {
  await using scene = await startGateway({ gate: throttling('1/hour burst 1'), gateway: { maxHoldMs: 600 } })
  await using client = await RawClient.open(scene.port)
  await using watcher = await RawClient.open(scene.server.port)
  await watcher.connect()
  watcher.send('SUB > 1\r\n')
  await watcher.flush()
  await client.connect()
  client.send('PUB a.b 1\r\n1\r\nPUB a.b 1\r\n2\r\nPUB late 1\r\n3\r\nPUB $JS.ACK.s.c.1 4\r\n+ACK\r\n')
  client.send(
    'PUB _INBOX.x 1\r\n5\r\nHPUB _INBOX.y 12 13\r\nNATS/1.0\r\n\r\n6\r\nPUB $JS.FC.z 0\r\n\r\nPING\r\n',
  )
  await watcher.receives('$JS.FC.z')
  const subjects = (): string[] =>
    watcher.lines.filter(line => /^H?MSG/.test(line)).map(line => line.split(' ')[1]!)
  expect(subjects()).toEqual(['a.b', '$JS.ACK.s.c.1', '_INBOX.x', '_INBOX.y', '$JS.FC.z'])
  expect(client.count('PONG')).toBe(1)
  // The held message is dropped when its time is up.
  await until(() => client.count('PONG') === 2)
  await watcher.flush()
  expect(subjects().slice(5)).toEqual(['late'])
})

it('the gateway answers the PING of the server for a client that is held', async () => {
  await using scene = await startGateway({
    gate: throttling('1/s burst 1'),
    server: { config: 'ping_interval: "150ms"\nping_max: 1' },
  })
  await using client = await RawClient.open(scene.port)
  await client.connect()
  // This client answers no PING itself.
  client.send(`SUB a.b 1\r\nPUB a.b 1\r\n1\r\nPUB a.b 1\r\n2\r\n`)
  await until(() => client.lines.filter(line => line === 'MSG a.b 1 1').length === 2)
  expect(client.isClosed).toBe(false)
  // Behind the held message, it has to.
  await client.receives('PING\r\n')
  await client.receives("-ERR 'Stale Connection'")
})

it.each(GENERATIONS)('a throttled client of $name acknowledges its consumer in time', async generation => {
  await using scene = await startGateway({ gate: throttling('2/s burst 1'), server: { jetstream: true } })
  const [nc, direct] = await Promise.all([
    generation.connect(scene.url),
    generation.connect(scene.server.url),
  ])
  const js = await generation.jetstream(nc)
  await js.addStream('jobs', ['jobs.>'])
  const consumer = await js.addConsumer('jobs', 'worker', { ackWaitMs: 700 })
  for (const number of numbers(20)) await js.publish('jobs.a', number)
  const handled: number[] = []
  const messages = await consumer.consume()
  const work = (async () => {
    for await (const message of messages) {
      // Each one is held for half a second, and the acknowledgement stands behind it.
      if (handled.length < 4) nc.publish('a.b', Buffer.from('x'))
      message.ack()
      handled.push(message.seq)
      if (handled.length === 20) break
    }
  })()
  await work
  await until(async () => (await js.state('jobs', 'worker')).num_ack_pending === 0)
  expect((await js.state('jobs', 'worker')).delivered.consumer_seq).toBe(20)
  await until(() => scene.gateway.stats().held === 0)
  await Promise.all([nc.close(), direct.close()])
})

it('messages of a client that has gone still pass in their turn', async () => {
  await using scene = await startGateway({ gate: throttling('20/s burst 1') })
  await using watcher = await RawClient.open(scene.server.port)
  await watcher.connect()
  watcher.send('SUB > 1\r\n')
  await watcher.flush()
  const client = await RawClient.open(scene.port)
  await client.connect()
  client.socket.end('PUB a.b 1\r\nx\r\n'.repeat(5))
  await until(() => watcher.lines.filter(line => line === 'MSG a.b 1 1').length === 5)
  await client.closes()
  await until(() => scene.gateway.stats().connections === 0)
  expect(scene.gateway.stats()).toMatchObject({ held: 0, dropped: 0 })
})

it('messages of a client that goes before it is accepted reach the server', async () => {
  await using scene = await startGateway()
  await using watcher = await RawClient.open(scene.server.port)
  await watcher.connect()
  watcher.send('SUB > 1\r\n')
  await watcher.flush()
  const client = await RawClient.open(scene.port)
  client.socket.end('CONNECT {}\r\nPUB a 1\r\nx\r\nPUB a 1\r\ny\r\n')
  await client.closes()
  await until(() => scene.gateway.stats().connections === 0)
  await watcher.flush()
  expect(watcher.count('MSG a 1 1')).toBe(2)
})

it('closing asks clients to go, and lets held messages pass', async () => {
  await using scene = await startGateway({ gate: throttling('20/s burst 1') })
  await using watcher = await RawClient.open(scene.server.port)
  await watcher.connect()
  watcher.send('SUB > 1\r\n')
  await watcher.flush()
  await using client = await RawClient.open(scene.port)
  await client.connect({ protocol: 1 })
  client.send('PUB a.b 1\r\nx\r\n'.repeat(4))
  await until(() => scene.gateway.stats().held > 0)
  await scene.gateway.close({ graceMs: 20_000 })
  await client.closes()
  expect(client.lines.filter(line => line.startsWith('INFO ')).at(-1)).toContain('"ldm":true')
  await watcher.flush()
  // Those that were not read yet stay with the client.
  expect(watcher.lines.filter(line => line === 'MSG a.b 1 1').length).toBeGreaterThanOrEqual(2)
  await until(() => scene.gateway.stats().connections === 0)
  expect(scene.gateway.stats()).toMatchObject({ held: 0 })
})

it.each([
  ['nothing', 0],
  ['the one that is held', 3_000],
])('closing loses no message that the limits allow, behind %s', async (_, graceMs) => {
  const gate = natsGate().use('slow', limit({ name: 'r', rate: '1/s burst 1', exceeded: 'throttle' }))
  await using scene = await startGateway({ gate })
  await using watcher = await RawClient.open(scene.server.port)
  await watcher.connect()
  watcher.send('SUB > 1\r\n')
  await watcher.flush()
  await using client = await RawClient.open(scene.port)
  await client.connect()
  const allowed = Array.from({ length: 200 }, (_, index) => `fast.${index}`)
  const lines = [
    'slow',
    'slow',
    ...allowed.slice(0, 100),
    ...(graceMs === 0 ? ['slow'] : []),
    ...allowed.slice(100),
  ]
  client.send(lines.map(subject => `PUB ${subject} 1\r\nx\r\n`).join(''))
  await until(() => scene.gateway.stats().held > 0)
  await scene.gateway.close({ graceMs })
  await client.closes()
  await watcher.flush()
  const subjects = watcher.lines.filter(line => line.startsWith('MSG ')).map(line => line.split(' ')[1])
  // What would have to wait longer is lost.
  expect(subjects).toEqual(['slow', ...(graceMs === 0 ? [] : ['slow']), ...allowed])
  expect(scene.gateway.stats()).toMatchObject({ held: 0, discarded: graceMs === 0 ? 2 : 0 })
})

it('a client that does not read its messages stops the server, and no other client', async () => {
  await using scene = await startGateway()
  await using slow = await RawClient.open(scene.port)
  await using fast = await RawClient.open(scene.port)
  await using publisher = await RawClient.open(scene.server.port)
  for (const client of [slow, fast]) {
    await client.connect()
    client.send('SUB a 1\r\n')
    await client.flush()
  }
  await publisher.connect()
  slow.socket.pause()
  const payload = 'x'.repeat(50_000)
  // Less than the 64 MiB after which the server gives up on a client.
  const count = 600
  for (let index = 0; index < count; index++) publisher.send(`PUB a ${payload.length}\r\n${payload}\r\n`)
  await publisher.flush()
  await until(() => fast.received.length > count * payload.length)
  expect(process.memoryUsage().arrayBuffers).toBeLessThan(200_000_000)
  slow.socket.resume()
  await until(() => slow.received.length > count * payload.length)
  expect(scene.gateway.stats().brokerPausedMs).toBeGreaterThan(0)
})
