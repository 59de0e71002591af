import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { nkeys } from '@nats-io/transport-node'
import { describe, expect, it } from 'vitest'
import type { NatsGatewayClient } from '../../../brokers/nats-gateway/index.ts'
import { readInfo, rewriteInfo } from '../../../brokers/nats-gateway/info.ts'
import { readConnect } from '../../../brokers/nats-gateway/read-connect.ts'
import { limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { natsGate } from '../nats/scene.ts'
import { startGateway } from './harness.ts'
import { RawClient } from './raw-client.ts'

const PASSWORDS = `
authorization {
  users = [
    { user: alice, password: right }
    { user: bob, password: right }
  ]
}`

describe('the INFO', () => {
  it('leads no client around the gateway, and keeps the rest', () => {
    const info = readInfo(
      'INFO {"server_id":"x","connect_urls":["a:1"],"ws_connect_urls":["b:1"],"tls_required":true,"tls_verify":true,"nonce":"n","max_payload":1000,"client_ip":"10.0.0.1","ldm":true} \r\n',
    )
    const changes = { clientIp: '192.0.2.7', isTls: false, maxPayloadBytes: 500, advertise: undefined }
    const kept = { server_id: 'x', nonce: 'n', max_payload: 500, client_ip: '192.0.2.7', ldm: true }
    expect(rewriteInfo(info!, changes)).toEqual(kept)
    expect(rewriteInfo(info!, { ...changes, isTls: true, advertise: ['gateway:4222'] })).toEqual({
      ...kept,
      tls_required: true,
      connect_urls: ['gateway:4222'],
    })
    expect(readInfo('INFO nothing')).toBeUndefined()
  })

  it('has the lesser maximum payload, which the gateway enforces as a server does', async () => {
    await using scene = await startGateway({ gateway: { maxPayloadBytes: 100 } })
    await using client = await RawClient.open(scene.port)
    expect(client.info).toMatchObject({ max_payload: 100, client_ip: '127.0.0.1', headers: true })
    await client.connect()
    client.send(`PUB a 100\r\n${'x'.repeat(100)}\r\nPUB a 101\r\n`)
    await client.receives("-ERR 'Maximum Payload Violation'")
    await client.closes()
    await until(() => scene.gateway.stats().connections === 0)
    expect(scene.gateway.stats()).toMatchObject({ oversized: 1 })
  })
})

describe('an identity', () => {
  it('counts only once the server has accepted it', async () => {
    const gate = natsGate(limit({ name: 'r', rate: '1/hour burst 3', per: 'user', exceeded: 'drop' }))
    await using scene = await startGateway({ gate, server: { config: PASSWORDS } })
    await using victim = await RawClient.open(scene.port)
    await victim.connect({ user: 'alice', pass: 'right' })
    victim.send('SUB a 1\r\n')
    await victim.flush()
    await using stranger = await RawClient.open(scene.port)
    stranger.send('CONNECT {"user":"alice","pass":"wrong"}\r\n')
    stranger.send('PUB a 1\r\nx\r\n'.repeat(50))
    await stranger.receives("-ERR 'Authorization Violation'")
    await stranger.closes()
    victim.send('PUB a 1\r\ny\r\n'.repeat(5))
    await victim.flush()
    expect(victim.count('MSG a 1 1')).toBe(3)
    expect(scene.gateway.stats().dropped).toBe(2)
  })

  it('covers what a client sends behind its CONNECT without waiting', async () => {
    const gate = natsGate(limit({ name: 'r', rate: '1/hour burst 3', per: 'client', exceeded: 'drop' }))
    await using scene = await startGateway({ gate })
    await using client = await RawClient.open(scene.port)
    client.send(`CONNECT {"name":"c","verbose":false}\r\nSUB a 1\r\n${'PUB a 1\r\nx\r\n'.repeat(5)}PING\r\n`)
    await client.receives('PONG\r\n')
    expect(client.lines).toEqual(['MSG a 1 1', 'x', 'MSG a 1 1', 'x', 'MSG a 1 1', 'x', 'PONG'])
  })

  it.each([
    ['a second CONNECT', 'CONNECT {"user":"bob","pass":"right"}\r\n', 'Unknown Protocol Operation'],
    ['an unknown line', 'RS+ a b\r\n', 'Unknown Protocol Operation'],
    ['a line of servers', 'MSG a 1 1\r\nx\r\n', 'Unknown Protocol Operation'],
  ])('cannot change: %s ends the connection', async (_, line, error) => {
    await using scene = await startGateway({ server: { config: PASSWORDS } })
    await using client = await RawClient.open(scene.port)
    await client.connect({ user: 'alice', pass: 'right' })
    client.send(line)
    await client.receives(`-ERR '${error}'`)
    await client.closes()
    expect(scene.gateway.stats().malformed).toBe(1)
  })

  it.each([
    '{"user":"alice","USER":"bob","pass":"right"}',
    '{"user":"alice","u\u017fer":"bob","pass":"right"}',
    '[]',
    'nothing',
  ])('is not read from a CONNECT that a server could read in another way: %s', async json => {
    await using scene = await startGateway({ server: { config: PASSWORDS } })
    await using client = await RawClient.open(scene.port)
    client.socket.write(`CONNECT ${json}\r\n`)
    await client.closes()
    expect(client.lines).toEqual(["-ERR 'Authorization Violation'"])
  })

  it('is forwarded as the gateway has read it', () => {
    const line = Buffer.from('CONNECT {"user":"bob","user":null,"PASS":"x", "echo":false}\r\n')
    const connect = readConnect(line, undefined)
    expect(connect?.line.toString()).toBe('CONNECT {"user":null,"pass":"x","echo":false}\r\n')
    expect(connect?.user).toBeUndefined()
  })

  it('of the gateway itself is a signature of the nonce, for servers that know trusted proxies', async () => {
    const key = nkeys.createUser()
    const proxySeed = Buffer.from(key.getSeed()).toString()
    const connects: string[] = []
    for (const apiLevel of [2, 1]) {
      const server = createServer(socket => {
        socket.write(`INFO ${JSON.stringify({ nonce: 'abc', api_lvl: apiLevel })} \r\n`)
        socket.on('data', chunk => {
          connects.push(chunk.toString())
          socket.end()
        })
      })
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as AddressInfo
      await using scene = await startGateway({
        gateway: { proxySeed, connectUpstream: () => connect(port, '127.0.0.1') },
      })
      await using client = await RawClient.open(scene.port)
      client.send('CONNECT {"name":"c"}\r\n')
      await client.closes()
      server.close()
    }
    const [signed, plain] = connects.map(text => JSON.parse(text.split('\r\n')[0]!.slice('CONNECT'.length)))
    expect(signed.name).toBe('c')
    expect(key.verify(Buffer.from('abc'), Buffer.from(signed.proxy_sig, 'base64url'))).toBe(true)
    expect(plain).toEqual({ name: 'c' })
    await expect(startGateway({ gateway: { proxySeed: `${proxySeed.slice(0, -9)}` } })).rejects.toThrow(
      'proxySeed: not the seed of an nkey',
    )
  })

  it('is the key of an nkey that has signed the nonce', async () => {
    const key = nkeys.createUser()
    const clients: NatsGatewayClient[] = []
    await using scene = await startGateway({
      gateway: { identify: client => void clients.push(client) },
      server: { config: `authorization { users = [ { nkey: ${key.getPublicKey()} } ] }` },
    })
    await using client = await RawClient.open(scene.port)
    const sig = Buffer.from(key.sign(Buffer.from(String(client.info.nonce)))).toString('base64url')
    await client.connect({ nkey: key.getPublicKey(), sig })
    expect(clients[0]?.user).toBe(key.getPublicKey())
  })

  it('is the subject of a JWT only with a signature, and never beside another one', () => {
    const [key, other] = [nkeys.createUser(), nkeys.createUser()]
    const [sub, nonce] = [key.getPublicKey(), 'abc']
    const jwt = `h.${Buffer.from(JSON.stringify({ sub, name: 'device 7' })).toString('base64url')}.s`
    const sign = (pair: typeof key): string =>
      Buffer.from(pair.sign(Buffer.from(nonce))).toString('base64url')
    const read = (fields: object, sent: string | undefined = nonce) =>
      readConnect(Buffer.from(`CONNECT ${JSON.stringify(fields)}\r\n`), sent)
    expect(read({ jwt, sig: sign(key) })).toMatchObject({ user: sub, jwt: { name: 'device 7' } })
    expect(read({ jwt, sig: sign(key), nkey: sub })).toMatchObject({ user: sub })
    expect(read({ jwt, sig: sign(other) })?.user).toBeUndefined()
    expect(read({ jwt })?.user).toBeUndefined()
    expect(read({ jwt, sig: sign(key), user: 'bob' })).toBeUndefined()
    expect(read({ jwt, sig: sign(key), nkey: other.getPublicKey() })).toBeUndefined()
    // A server without keys ignores them.
    expect(
      readConnect(Buffer.from(`CONNECT ${JSON.stringify({ jwt, user: 'bob' })}\r\n`), undefined)?.user,
    ).toBe('bob')
  })
})

describe('a connect', () => {
  it('is refused with an error that clients know', async () => {
    const gate = natsGate(
      limit({ name: 'r', on: 'connect', rate: '1/hour', per: 'user', exceeded: 'reject' }),
    )
    await using scene = await startGateway({ gate })
    await using first = await RawClient.open(scene.port)
    await first.connect({ user: 'alice' })
    await using second = await RawClient.open(scene.port)
    second.send('CONNECT {"user":"alice"}\r\nPING\r\n')
    await second.receives("-ERR 'maximum connections exceeded'")
    await second.closes()
    await until(() => scene.gateway.stats().connections === 1)
    expect(scene.gateway.stats()).toMatchObject({ connectsRefused: 1 })
  })

  it('of a banned client gets an authorization error', async () => {
    const gate = natsGate()
    await using scene = await startGateway({ gate })
    await gate.bans.add({ user: 'alice', reason: 'x', for: '1h' })
    await using client = await RawClient.open(scene.port)
    client.send('CONNECT {"user":"alice"}\r\nPING\r\n')
    await client.closes()
    expect(client.lines).toEqual(["-ERR 'Authorization Violation'"])
  })

  it('ends when its client is banned', async () => {
    const gate = natsGate()
    await using scene = await startGateway({ gate })
    await using client = await RawClient.open(scene.port)
    await using other = await RawClient.open(scene.port)
    await Promise.all([client.connect({ user: 'alice' }), other.connect({ user: 'bob' })])
    await gate.bans.add({ user: 'alice', reason: 'x', for: '1h' })
    await client.closes()
    expect(client.lines).toEqual(['PONG', "-ERR 'Authorization Violation'"])
    await other.flush()
    expect(other.count('PONG')).toBe(2)
  })

  it.each([
    ['before', 'FOO bar\r\n', 0],
    ['before', 'GET / HTTP/1.1\r\n\r\n', 0],
    ['before', 'x'.repeat(10_000), 0],
    ['behind', 'FOO bar\r\n', 1],
  ])('ends with the error of nats-server for a malformed line %s the INFO: %j', async (_, line, infos) => {
    await using scene = await startGateway(
      infos === 0 ? { gateway: { connectUpstream: () => new Promise(() => {}) } } : {},
    )
    const socket = connect(scene.port, '127.0.0.1')
    let received = ''
    socket.on('data', bytes => {
      received += bytes.toString()
    })
    if (infos > 0) await until(() => received.endsWith('\r\n'))
    socket.write(line)
    await once(socket, 'close')
    expect(received.split('\r\n').slice(infos)).toEqual(["-ERR 'Unknown Protocol Operation'", ''])
    expect(scene.gateway.stats().malformed).toBe(1)
  })

  it('ends if no server is there', async () => {
    const failing = { connectUpstream: () => Promise.reject(new Error('away')) }
    await using scene = await startGateway({ gateway: failing })
    const socket = connect(scene.port, '127.0.0.1')
    await once(socket, 'close')
    await until(() => scene.gateway.stats().connections === 0)
    expect(scene.gateway.stats()).toMatchObject({ upstreamConnectsFailed: 1 })
  })
})

it('a message of the server before it has accepted the client closes the connection', async () => {
  let upstream: Socket | undefined
  await using scene = await startGateway({
    onUpstream: socket => {
      upstream = socket
      return socket
    },
  })
  await using client = await RawClient.open(scene.port)
  upstream?.unshift(Buffer.from('MSG a 1 1\r\nx\r\n'))
  await client.closes()
  await until(() => scene.gateway.stats().connections === 0)
  expect(scene.gateway.stats()).toMatchObject({ malformed: 1 })
})
