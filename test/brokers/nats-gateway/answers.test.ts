import { describe, expect, it } from 'vitest'
import { natsGateway } from '../../../brokers/nats-gateway/index.ts'
import { limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { natsGate } from '../nats/scene.ts'
import { startGateway } from './harness.ts'
import { RawClient } from './raw-client.ts'

const HOURLY = '1/hour burst 1'
const REFUSAL = 'HMSG '

/** Lines of the subject of an answer, without its sizes. */
const answersOf = (client: RawClient): string[] =>
  client.lines.filter(line => line.startsWith(REFUSAL)).map(line => line.split(' ').slice(0, 3).join(' '))

describe('a refused publish', () => {
  const rejecting = () => natsGate().use('a.>', limit({ name: 'r', rate: HOURLY, exceeded: 'reject' }))

  it('is answered on the subscription to its reply subject', async () => {
    await using scene = await startGateway({ gate: rejecting() })
    await using client = await RawClient.open(scene.port)
    await client.connect()
    client.send('SUB _INBOX.me.* 7\r\nSUB other.> 8\r\nSUB exact 9\r\nPUB a.b 0\r\n\r\n')
    client.send('PUB a.b _INBOX.me.1 1\r\nx\r\nPUB a.b other.deep.er 0\r\n\r\nPUB a.b exact 0\r\n\r\n')
    client.send('PUB a.b _INBOX.you.1 1\r\nx\r\nPUB a.b 1\r\nx\r\n')
    await client.flush()
    expect(answersOf(client)).toEqual(['HMSG _INBOX.me.1 7', 'HMSG other.deep.er 8', 'HMSG exact 9'])
    expect(scene.gateway.stats()).toMatchObject({ rejected: 3, dropped: 2 })
  })

  it('is answered without headers if the client has none', async () => {
    await using scene = await startGateway({ gate: rejecting() })
    await using client = await RawClient.open(scene.port)
    await client.connect({ headers: false })
    client.send('SUB inbox 1\r\nPUB a.b 0\r\n\r\nPUB a.b inbox 0\r\n\r\n')
    await client.flush()
    expect(client.lines).toContain('MSG inbox 1 73')
    expect(client.lines).toContain(
      '{"error":{"code":429,"err_code":10167,"description":"too many requests"}}',
    )
  })

  it('counts for the maximum of its subscription', async () => {
    await using scene = await startGateway({ gate: rejecting() })
    await using client = await RawClient.open(scene.port)
    await using responder = await RawClient.open(scene.server.port)
    await responder.connect()
    await client.connect()
    client.send('PUB a.b 0\r\n\r\nSUB once 1\r\nUNSUB 1 1\r\nSUB thrice 2\r\nUNSUB 2 3\r\n')
    client.send('PUB a.b once 0\r\n\r\nPUB a.b thrice 0\r\n\r\n')
    await client.flush()
    responder.send('PUB once 1\r\nx\r\n'.repeat(3) + 'PUB thrice 1\r\nx\r\n'.repeat(5))
    await responder.flush()
    await client.flush()
    expect(client.lines.filter(line => line.startsWith('MSG'))).toEqual(['MSG thrice 2 1', 'MSG thrice 2 1'])
    // Neither subscription is known any more.
    client.send('PUB a.b once 0\r\n\r\nPUB a.b thrice 0\r\n\r\n')
    await client.flush()
    expect(answersOf(client)).toEqual(['HMSG once 1', 'HMSG thrice 2'])
  })

  it('is confirmed to a verbose client', async () => {
    await using scene = await startGateway({ gate: rejecting() })
    await using client = await RawClient.open(scene.port)
    await client.connect({ verbose: true })
    client.send(
      'SUB once 1\r\nUNSUB 1 1\r\nPUB a.b 0\r\n\r\nPUB a.b once 0\r\n\r\nPUB a.b 0\r\n\r\nPUB b 0\r\n\r\n',
    )
    await client.flush()
    // CONNECT, SUB, UNSUB and four PUBs, and none for the UNSUB of the gateway.
    expect(client.count('+OK')).toBe(7)
  })

  it('is discarded with its payload, and the next one is read', async () => {
    await using scene = await startGateway({
      gate: natsGate().use('a', limit({ name: 'r', rate: HOURLY, exceeded: 'drop' })),
    })
    await using client = await RawClient.open(scene.port)
    await client.connect()
    client.send('SUB > 1\r\nPUB a 1\r\n1\r\nPUB a 9\r\nPUB a 1\r\n\r\nPUB b 2\r\nok\r\n')
    await client.flush()
    expect(client.lines.slice(1)).toEqual(['MSG a 1 1', '1', 'MSG b 1 2', 'ok', 'PONG'])
  })

  it('ends the connection with outcome disconnect', async () => {
    await using scene = await startGateway({
      gate: natsGate().use('a', limit({ name: 'r', rate: HOURLY, exceeded: 'disconnect' })),
    })
    await using client = await RawClient.open(scene.port)
    await using watcher = await RawClient.open(scene.server.port)
    await watcher.connect()
    watcher.send('SUB > 1\r\n')
    await watcher.flush()
    await client.connect()
    client.send('PUB b 1\r\nx\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nPUB b 1\r\ny\r\n')
    await client.closes()
    await watcher.flush()
    expect(watcher.lines.filter(line => line.startsWith('MSG'))).toEqual(['MSG b 1 1', 'MSG a 1 1'])
    expect(client.received).not.toContain('-ERR')
    expect(scene.gateway.stats().disconnected).toBe(1)
  })

  it('goes to another subject with outcome redirect', async () => {
    const gate = natsGate().use(
      'a.*',
      limit({
        name: 'r',
        rate: HOURLY,
        dialect: 'nats',
        exceeded: { redirect: { to: 'dead.{topic}' } },
      }),
    )
    await using scene = await startGateway({ gate })
    await using client = await RawClient.open(scene.port)
    await client.connect({ name: 'c' })
    const headers = 'NATS/1.0\r\nNats-Msg-Id: 5\r\nColour: red\r\n\r\n'
    client.send(`SUB dead.> 1\r\nPUB a.b 0\r\n\r\nPUB a.b reply 1\r\nx\r\n`)
    client.send(`HPUB a.b ${headers.length} ${headers.length + 1}\r\n${headers}y\r\n`)
    await client.flush()
    const [, first, ...rest] = client.lines
    expect(first).toMatch(/^HMSG dead\.a\.b 1 reply \d+ \d+$/)
    expect(rest.join('\n')).toMatch(
      /^NATS\/1\.0\ntopicgate-redirected-from: a\.b\ntopicgate-reason: rate_limit_exceeded\ntopicgate-rule: r\ntopicgate-client: c\n\nx\nHMSG dead\.a\.b 1 \d+ \d+\nNATS\/1\.0\nColour: red\ntopicgate-/,
    )
    expect(scene.gateway.stats().redirected).toBe(2)
  })

  it('passes in a lesser form with outcome degrade', async () => {
    const gate = natsGate().use(
      'a',
      limit({ name: 'r', rate: HOURLY, exceeded: { degrade: { keep: ['value'], mark: 'Degraded' } } }),
    )
    await using scene = await startGateway({ gate })
    await using client = await RawClient.open(scene.port)
    await client.connect()
    const payload = '{"value":1,"more":[1,2,3]}'
    client.send(`SUB a 1\r\n${`PUB a ${payload.length}\r\n${payload}\r\n`.repeat(2)}`)
    await client.flush()
    expect(client.lines.slice(1, 3)).toEqual([`MSG a 1 ${payload.length}`, payload])
    expect(client.lines.slice(4)).toEqual(['NATS/1.0', 'Degraded: r', '', '{"value":1}', 'PONG'])
  })

  it('waits in the order of its client with outcome throttle, and PING behind it', async () => {
    const gate = natsGate().use('a', limit({ name: 'r', rate: '20/s burst 1', exceeded: 'throttle' }))
    await using scene = await startGateway({ gate })
    await using client = await RawClient.open(scene.port)
    await client.connect()
    const numbers = Array.from({ length: 10 }, (_, index) => String(index))
    client.send(
      `SUB > 1\r\n${numbers.map(number => `PUB a 1\r\n${number}\r\nPUB b 1\r\n${number}\r\n`).join('')}PING\r\n`,
    )
    await until(() => client.count('PONG') === 2)
    const payloads = client.lines.slice(1).filter(line => /^\d$/.test(line))
    expect(payloads).toEqual(numbers.flatMap(number => [number, number]))
    expect(client.lines.at(-1)).toBe('PONG')
    expect(scene.gateway.stats()).toMatchObject({ dropped: 0, held: 0 })
  })

  it('leaves only the latest of its subject with outcome latest', async () => {
    const gate = natsGate().use(
      'a.*',
      limit({ name: 'r', rate: '4/s burst 1', per: 'topic', exceeded: 'latest' }),
    )
    await using scene = await startGateway({ gate })
    await using client = await RawClient.open(scene.port)
    await client.connect()
    client.send('SUB > 1\r\nPUB a.x 1\r\n1\r\nPUB a.x 1\r\n2\r\nPUB a.x 1\r\n3\r\nPUB b 1\r\n-\r\n')
    await until(() => client.lines.filter(line => line === 'MSG a.x 1 1').length === 2)
    await client.flush()
    expect(client.lines.filter(line => /^[\d-]$/.test(line))).toEqual(['1', '-', '3'])
  })

  it('waits for its rule alone with outcome queue', async () => {
    const gate = natsGate().use('a', limit({ name: 'r', rate: '20/s burst 1', exceeded: 'queue' }))
    await using scene = await startGateway({ gate })
    await using client = await RawClient.open(scene.port)
    await client.connect()
    client.send(`SUB > 1\r\n${'PUB a 1\r\nx\r\n'.repeat(4)}PUB b 1\r\n-\r\n`)
    await until(() => client.lines.filter(line => line === 'MSG a 1 1').length === 4)
    expect(client.lines.filter(line => line === 'x' || line === '-')).toEqual(['x', '-', 'x', 'x', 'x'])
  })
})

describe('subscriptions and deliveries', () => {
  it('a refused SUB gets a permission error, and the others stay', async () => {
    const gate = natsGate().use(
      'a.>',
      limit({ name: 'r', on: 'subscribe', rate: HOURLY, exceeded: 'reject' }),
    )
    await using scene = await startGateway({ gate })
    await using client = await RawClient.open(scene.port)
    await client.connect()
    client.send('SUB a.1 1\r\nSUB a.2 group 2\r\nSUB _INBOX.x 3\r\nPUB a.1 0\r\n\r\nPUB a.2 0\r\n\r\n')
    await client.flush()
    expect(client.lines.slice(1)).toEqual([
      '-ERR \'Permissions Violation for Subscription to "a.2" using queue "group"\'',
      'MSG a.1 1 0',
      '',
      'PONG',
    ])
    expect(scene.gateway.stats().subscriptionsRefused).toBe(1)
  })

  it('a refused delivery is discarded, and replies are not', async () => {
    const gate = natsGate().use('>', limit({ name: 'r', on: 'deliver', rate: HOURLY, exceeded: 'drop' }))
    await using scene = await startGateway({ gate })
    await using client = await RawClient.open(scene.port)
    await client.connect()
    client.send(`SUB > 1\r\n${'PUB a 1\r\nx\r\nPUB _INBOX.y 1\r\ny\r\n'.repeat(3)}`)
    await client.flush()
    expect(client.lines.filter(line => line === 'x' || line === 'y')).toEqual(['x', 'y', 'y', 'y'])
    expect(scene.gateway.stats().deliveriesRefused).toBe(2)
  })

  it('throttled deliveries come later and in order', async () => {
    const gate = natsGate().use(
      'a',
      limit({ name: 'r', on: 'deliver', rate: '20/s burst 1', exceeded: 'throttle' }),
    )
    await using scene = await startGateway({ gate })
    await using client = await RawClient.open(scene.port)
    await client.connect()
    client.send(
      `SUB > 1\r\n${[1, 2, 3, 4].map(number => `PUB a 1\r\n${number}\r\n`).join('')}PUB b 1\r\n5\r\nPING\r\n`,
    )
    await until(() => client.count('PONG') === 2)
    expect(client.lines.filter(line => /^\d$/.test(line))).toEqual(['1', '2', '3', '4', '5'])
  })
})

it('refuses policies that it cannot enact', () => {
  const options = { connectUpstream: () => Promise.reject(new Error('unused')) }
  const retrying = natsGate(limit({ name: 'r', rate: '1/s', exceeded: 'retry' }))
  expect(() => natsGateway(retrying, options)).toThrow(/the NATS gateway cannot enact "retry" on publish/)
  const redirecting = natsGate(
    limit({ name: 'r', rate: '1/s', dialect: 'mqtt', exceeded: { redirect: { to: 'dead/{topic}' } } }),
  )
  expect(() => natsGateway(redirecting, options)).toThrow(/its topic is an MQTT topic/)
  expect(() => natsGateway(natsGate(), { ...options, exempt: ['a.*'] })).toThrow(
    /exempt: "a\.\*" is not a subject/,
  )
  expect(() => natsGateway(natsGate(), { ...options, maxPayloadBytes: 0 })).toThrow(/maxPayloadBytes/)
})
