import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import mqttPacket from 'mqtt-packet'
import { afterEach, describe, expect, it } from 'vitest'
import { type LimitBrokerOptions, limitServer } from '../../../brokers/aedes/index.ts'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { eventually, startBroker, type TestBroker } from './harness.ts'

let running: TestBroker | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})

async function start(
  exceeded: 'reject' | 'disconnect' | 'throttle',
  rate: string,
  limiter: LimitBrokerOptions = {},
) {
  const gate = new Gate().use(limit({ name: 'storm', on: 'connect', rate, per: 'ip', exceeded }))
  running = await startBroker({ gate, limiter })
  return running
}

const CONNECT = {
  cmd: 'connect' as const,
  protocolId: 'MQTT' as const,
  protocolVersion: 4 as const,
  clean: true,
  keepalive: 0,
}

describe('a refused connect', () => {
  it('gets a CONNACK "server unavailable" and is closed before its password is checked', async () => {
    const test = await start('reject', '1/hour')
    let asked = 0
    test.broker.authenticate = (_client, _user, _password, done) => {
      asked++
      done(null, true)
    }
    await test.connectRaw({ clientId: 'a' })
    const raw = await test.connectRaw()
    raw.send({ ...CONNECT, clientId: 'b' })
    expect(await raw.until('connack')).toMatchObject({ returnCode: 3 })
    await eventually(() => expect(raw.closed).toBe(true))
    expect(asked).toBe(1)
    expect(test.limits.stats()).toMatchObject({ connectsRefused: 1, connections: 1 })
  })
  it('gets the configured return code', async () => {
    const test = await start('reject', '1/hour', { refusedReturnCode: 5 })
    await test.connectRaw({ clientId: 'a' })
    const raw = await test.connectRaw()
    raw.send({ ...CONNECT, clientId: 'b' })
    expect(await raw.until('connack')).toMatchObject({ returnCode: 5 })
  })
  it('gets no CONNACK if the rule’s outcome is `disconnect`', async () => {
    const test = await start('disconnect', '1/hour')
    await test.connectRaw({ clientId: 'a' })
    const raw = await test.connectRaw()
    raw.send({ ...CONNECT, clientId: 'b' })
    await eventually(() => expect(raw.closed).toBe(true))
    expect(raw.packets).toEqual([])
  })
})

describe('a rule for connects of some users', () => {
  it('limits guesses of their passwords, also without a username, and no other users', async () => {
    const gate = new Gate().use(
      limit({ name: 'guesses', on: 'connect', rate: '3/hour', per: 'ip', for: { users: ['admin'] } }),
    )
    running = await startBroker({ gate })
    running.broker.authenticate = (_client, user, password, done) => {
      done(null, user !== 'admin' || String(password) === 'right')
    }
    const connectAs = async (
      username: string | undefined,
      password = 'guess',
    ): Promise<number | undefined> => {
      const raw = await running!.connectRaw()
      const login = username === undefined ? {} : { username, password: Buffer.from(password) }
      raw.send({ ...CONNECT, clientId: `${username}`, ...login })
      return ((await raw.until('connack')) as { readonly returnCode?: number }).returnCode
    }
    expect(await connectAs('admin')).toBe(5)
    expect(await connectAs('ann')).toBe(0)
    expect(await connectAs(undefined)).toBe(0)
    expect(await connectAs('admin')).toBe(5)
    expect(await connectAs('admin', 'right')).toBe(3)
    expect(await connectAs(undefined)).toBe(3)
    expect(await connectAs('ann')).toBe(0)
  })
})

describe('a throttled connect', () => {
  it('waits for its CONNACK', async () => {
    const test = await start('throttle', '20/s burst 1')
    const startMs = performance.now()
    await Promise.all(Array.from({ length: 5 }, (_, i) => test.connect({ clientId: `c${i}` })))
    expect(performance.now() - startMs).toBeGreaterThan(150)
  })
  it('that would wait too long is refused at once', async () => {
    const test = await start('throttle', '1/hour')
    await test.connectRaw({ clientId: 'a' })
    const raw = await test.connectRaw()
    raw.send({ ...CONNECT, clientId: 'b' })
    expect(await raw.until('connack')).toMatchObject({ returnCode: 3 })
  })
  it('of a client that closes early leaves no state', async () => {
    const test = await start('throttle', '1 per 5s')
    await test.connectRaw({ clientId: 'a' })
    const raw = await test.connectRaw()
    raw.send({ ...CONNECT, clientId: 'b' })
    await eventually(() => expect(test.limits.stats().held).toBe(1))
    raw.socket.destroy()
    await eventually(() =>
      expect(test.limits.stats()).toMatchObject({ held: 0, discarded: 1, connections: 1 }),
    )
  })
})

describe('sockets without a CONNECT', () => {
  it('are limited by address, closed after a timeout, and no longer counted after their CONNECT', async () => {
    const test = await start('reject', '100/s')
    const server = createServer(socket => void test.broker.handle(socket))
    const bound = limitServer(server, test.limits, { maxSilentPerIp: 2, silentMs: 2_000 })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const sockets: Socket[] = []
    const open = () => {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      sockets.push(socket)
      return socket
    }
    const first = open()
    const second = open()
    await eventually(() => expect(bound.stats().silent).toBe(2))
    const third = open()
    await eventually(() => expect(third.destroyed || third.readableEnded).toBe(true))
    expect(bound.stats().refused).toBe(1)
    first.write(mqttPacket.generate({ ...CONNECT, clientId: 'a' }))
    await eventually(() => expect(bound.stats()).toEqual({ silent: 0, refused: 1, expired: 1 }))
    await eventually(() => expect(second.destroyed || second.readableEnded).toBe(true))
    expect(first.destroyed).toBe(false)
    bound.detach()
    for (const socket of sockets) socket.destroy()
    await new Promise<void>(resolve => server.close(() => resolve()))
  })
})

describe('a client that reconnects too often', () => {
  it('is refused at the first excessive connect, and later before its password is checked', async () => {
    const gate = new Gate({ penalties: { block: '1h', flapping: '4 connects in 1m' } })
    running = await startBroker({ gate })
    let asked = 0
    running.broker.authenticate = (_client, _user, _password, done) => {
      asked++
      done(null, true)
    }
    for (let n = 0; n < 6; n++) {
      const raw = await running.connectRaw()
      raw.send({ ...CONNECT, clientId: 'flapping' })
      expect(await raw.until('connack')).toMatchObject({ returnCode: n < 3 ? 0 : 3 })
      raw.socket.destroy()
      await eventually(() => expect(raw.closed).toBe(true))
    }
    expect(asked).toBe(4)
    expect(gate.bans.list()).toMatchObject([{ id: 'client:flapping', reason: 'flapping' }])
    await running.connectRaw({ clientId: 'quiet' })
    expect(running.limits.stats()).toMatchObject({ connectsRefused: 3 })
  })
  it('is not blamed for connects with its id but without its password', async () => {
    const gate = new Gate({
      penalties: { block: '1h', after: '2 refusals in 1m', flapping: '3 connects in 1m' },
    }).use(limit({ name: 'c', on: 'connect', rate: '10/hour', exceeded: 'reject' }))
    running = await startBroker({ gate })
    running.broker.authenticate = (_client, user, _password, done) => done(null, user === 'good')
    for (let n = 0; n < 20; n++) {
      const raw = await running.connectRaw()
      raw.send({ ...CONNECT, clientId: 'device', username: 'nobody' })
      await eventually(() => expect(raw.closed).toBe(true))
    }
    expect(gate.bans.list().map(({ id }) => id)).toEqual(['ip:127.0.0.1/32'])
    await gate.bans.remove('ip:127.0.0.1/32')
    await gate.reset()
    const device = await running.connectRaw({ clientId: 'device', username: 'good' })
    expect(device.packets[0]).toMatchObject({ returnCode: 0 })
  })
})
