import { afterEach, describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { exempt } from '../../../src/chain/rules/exemption.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { random } from '../../support/random.ts'
import { eventually, type RawClient, type Setup, startBroker, type TestBroker } from './harness.ts'

let running: TestBroker[] = []
afterEach(async () => {
  for (const each of running) await each.close()
  running = []
})
async function start(setup: Setup): Promise<TestBroker> {
  const broker = await startBroker(setup)
  running.push(broker)
  return broker
}

/** What is held now under a rule, by key. */
function held(gate: Gate, rule: string): Record<string, number> {
  return Object.fromEntries(gate.held.heldUnder(rule))
}

async function returnCode(
  test: TestBroker,
  clientId: string,
  username?: string,
): Promise<number | undefined> {
  const raw = await test.connectRaw()
  raw.send({
    ...{ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId, keepalive: 0 },
    ...(username === undefined ? {} : { username, password: Buffer.from('p') }),
  })
  const packet = (await raw.until('connack')) as { readonly returnCode?: number }
  return packet.returnCode
}

async function subscribe(
  raw: RawClient,
  messageId: number,
  ...filters: string[]
): Promise<readonly number[]> {
  const before = raw.packets.filter(({ cmd }) => cmd === 'suback').length
  raw.send({ cmd: 'subscribe', messageId, subscriptions: filters.map(topic => ({ topic, qos: 0 as const })) })
  const packet = (await raw.until('suback', before + 1)) as { readonly granted: readonly number[] }
  return packet.granted
}

async function unsubscribe(raw: RawClient, messageId: number, ...filters: string[]): Promise<void> {
  const before = raw.packets.filter(({ cmd }) => cmd === 'unsuback').length
  raw.send({ cmd: 'unsubscribe', messageId, unsubscriptions: filters })
  await raw.until('unsuback', before + 1)
}

/** Publishes with QoS 1 and waits for the acknowledgement, which refused ones get too. */
async function retain(raw: RawClient, messageId: number, topic: string, payload: string): Promise<void> {
  const before = raw.packets.filter(({ cmd }) => cmd === 'puback').length
  raw.send(raw.publish(topic, { payload, qos: 1, retain: true, messageId }))
  await raw.until('puback', before + 1)
}

describe('connections', () => {
  const setup = (): Setup => ({ gate: new Gate().use(limit({ name: 'open', connections: 2, per: 'ip' })) })

  it('are refused beyond the limit with a CONNACK, and admitted again when one has ended', async () => {
    const test = await start(setup())
    const [a] = [await test.connectRaw({ clientId: 'a' }), await test.connectRaw({ clientId: 'b' })]
    expect(await returnCode(test, 'c')).toBe(3)
    expect(held(test.gate, 'open')).toEqual({ '127.0.0.1': 2 })
    // Without DISCONNECT.
    a.socket.destroy()
    await eventually(() => expect(held(test.gate, 'open')).toEqual({ '127.0.0.1': 1 }))
    expect(await returnCode(test, 'c')).toBe(0)
    expect(test.limits.stats().connectsRefused).toBe(1)
  })

  it('count once if a client id is taken over, even at the limit', async () => {
    const test = await start(setup())
    await test.connectRaw({ clientId: 'a' })
    const first = await test.connectRaw({ clientId: 'b' })
    for (let turn = 0; turn < 5; turn++) await test.connectRaw({ clientId: 'b' })
    await eventually(() => expect(first.closed).toBe(true))
    await eventually(() => expect(held(test.gate, 'open')).toEqual({ '127.0.0.1': 2 }))
    expect(await returnCode(test, 'c')).toBe(3)
  })

  it('count for a user only once the user is authenticated', async () => {
    const gate = new Gate().use(limit({ name: 'mine', connections: 1, per: 'user' }))
    const test = await start({ gate })
    test.broker.authenticate = (_client, username, _password, done) => done(null, username !== 'forged')
    expect(await returnCode(test, 'a', 'forged')).toBe(5)
    expect(held(gate, 'mine')).toEqual({})
    expect(await returnCode(test, 'b', 'ann')).toBe(0)
    expect(await returnCode(test, 'c', 'ann')).toBe(3)
    expect(await returnCode(test, 'd', 'bob')).toBe(0)
    expect(held(gate, 'mine')).toEqual({ ann: 1, bob: 1 })
  })

  it('are refused with the count and the limit, and emitted as decisions', async () => {
    const gate = setup().gate!
    const refused: unknown[] = []
    gate.on('decision', decision => decision.allowed || refused.push(decision))
    const test = await start({ gate })
    await test.connectRaw({ clientId: 'a' })
    await test.connectRaw({ clientId: 'b' })
    await returnCode(test, 'c')
    expect(refused).toEqual([
      {
        ...{ allowed: false, outcome: 'reject', reason: 'connections_exceeded', rule: 'open' },
        ...{ limit: 2, remaining: 0, retryAfterMs: 1_000 },
      },
    ])
  })

  it('charge no rate when they are refused', async () => {
    const gate = new Gate().use(
      limit({ name: 'open', connections: 1 }),
      limit({ name: 'rate', rate: '5/h', on: 'connect' }),
    )
    const test = await start({ gate })
    await test.connectRaw({ clientId: 'a' })
    for (let i = 0; i < 10; i++) expect(await returnCode(test, `b${i}`)).toBe(3)
    const sender = { client: 'x' }
    // One was let in, and this would be the second.
    expect(await gate.peek({ topic: 'connect', on: 'connect', sender, size: 0 })).toMatchObject([
      { remaining: 3 },
    ])
  })

  it('of exempted senders are not counted', async () => {
    const gate = new Gate().use(
      exempt({ clients: ['ops-1', 'ops-2'] }),
      limit({ name: 'open', connections: 1 }),
    )
    const test = await start({ gate })
    expect(await returnCode(test, 'a')).toBe(0)
    expect([await returnCode(test, 'ops-1'), await returnCode(test, 'ops-2')]).toEqual([0, 0])
    expect(await returnCode(test, 'b')).toBe(3)
    expect(held(gate, 'open')).toEqual({ '': 1 })
  })
})

describe('subscriptions', () => {
  const setup = (): Setup => ({
    gate: new Gate().use(limit({ name: 'subs', subscriptions: 3, per: 'client' })),
  })

  it('are refused one by one beyond the limit, and admitted after an UNSUBSCRIBE', async () => {
    const test = await start(setup())
    const a = await test.connectRaw({ clientId: 'a' })
    expect(await subscribe(a, 1, 'x/1', 'x/2', 'x/3', 'x/4')).toEqual([0, 0, 0, 128])
    // The same filter again is no further one.
    expect(await subscribe(a, 2, 'x/1', 'x/5')).toEqual([0, 128])
    await unsubscribe(a, 3, 'x/1', 'x/2', 'never')
    expect(held(test.gate, 'subs')).toEqual({ a: 1 })
    expect(await subscribe(a, 4, 'x/5', 'x/6', 'x/7')).toEqual([0, 0, 128])
    expect(test.limits.stats().subscriptionsRefused).toBe(3)
  })

  it('of a clean session end with it', async () => {
    const test = await start(setup())
    const a = await test.connectRaw({ clientId: 'a' })
    await subscribe(a, 1, 'x/1', 'x/2')
    a.socket.destroy()
    await eventually(() => expect(held(test.gate, 'subs')).toEqual({}))
    const again = await test.connectRaw({ clientId: 'a' })
    await subscribe(again, 1, 'x/1')
    await test.connectRaw({ clientId: 'a' })
    await eventually(() => expect(held(test.gate, 'subs')).toEqual({}))
  })

  it('of a persistent session count while it is offline, and are restored even over the limit', async () => {
    const test = await start(setup())
    const a = await test.connectRaw({ clientId: 'a', clean: false })
    await subscribe(a, 1, 'x/1', 'x/2', 'x/3')
    a.socket.destroy()
    await eventually(() => expect(test.limits.stats().connections).toBe(0))
    expect(held(test.gate, 'subs')).toEqual({ a: 3 })
    const back = await test.connectRaw({ clientId: 'a', clean: false })
    expect(await subscribe(back, 1, 'x/4')).toEqual([128])
    back.send({ cmd: 'disconnect' })
    await eventually(() => expect(test.limits.stats().connections).toBe(0))
    // A clean session of the client id ends the persistent one.
    const clean = await test.connectRaw({ clientId: 'a', clean: true })
    expect(held(test.gate, 'subs')).toEqual({})
    expect(await subscribe(clean, 1, 'y/1', 'y/2', 'y/3', 'y/4')).toEqual([0, 0, 0, 128])
  })

  it('can be limited for a topic', async () => {
    const gate = new Gate().use('site/{site}/#', limit({ name: 'per-site', subscriptions: 1, per: 'site' }))
    const test = await start({ gate })
    const a = await test.connectRaw({ clientId: 'a' })
    expect(await subscribe(a, 1, 'site/x/1', 'site/y/1', 'site/x/2', 'other/1')).toEqual([0, 0, 128, 0])
    expect(held(gate, 'per-site')).toEqual({ x: 1, y: 1 })
  })
})

describe('retained messages', () => {
  it('are refused beyond the limit, and can be cleared or replaced', async () => {
    const gate = new Gate().use(limit({ name: 'kept', retained: 2, per: 'client' }))
    const test = await start({ gate })
    const a = await test.connectRaw({ clientId: 'a' })
    await retain(a, 1, 'r/1', 'one')
    await retain(a, 2, 'r/2', 'two')
    await retain(a, 3, 'r/3', 'three')
    await retain(a, 4, 'r/1', 'one again')
    expect(held(gate, 'kept')).toEqual({ a: 2 })
    expect(await topicsRetained(test)).toEqual(['r/1', 'r/2'])
    await retain(a, 5, 'r/1', '')
    await retain(a, 6, 'r/never', '')
    expect(held(gate, 'kept')).toEqual({ a: 1 })
    await retain(a, 7, 'r/3', 'three')
    expect(await topicsRetained(test)).toEqual(['r/2', 'r/3'])
    expect(test.limits.stats().dropped).toBe(1)
  })

  it('count for the last publisher, and not for a client that has ended', async () => {
    const gate = new Gate().use(limit({ name: 'kept', retained: 2, per: 'client' }))
    const test = await start({ gate })
    const [a, b] = [await test.connectRaw({ clientId: 'a' }), await test.connectRaw({ clientId: 'b' })]
    await retain(a, 1, 'r/1', 'a')
    await retain(a, 2, 'r/2', 'a')
    await retain(b, 1, 'r/1', 'b')
    expect(held(gate, 'kept')).toEqual({ a: 1, b: 1 })
    a.socket.destroy()
    await eventually(() => expect(test.limits.stats().connections).toBe(1))
    // They are still held.
    expect(held(gate, 'kept')).toEqual({ a: 1, b: 1 })
  })

  it('are counted in bytes of topic and payload', async () => {
    const gate = new Gate().use(limit({ name: 'bytes', retained: '100B' }))
    const test = await start({ gate })
    const a = await test.connectRaw({ clientId: 'a' })
    await retain(a, 1, 'r/1', 'x'.repeat(57))
    await retain(a, 2, 'r/2', 'x'.repeat(38))
    expect(held(gate, 'bytes')).toEqual({ '': 60 })
    await retain(a, 3, 'r/2', 'x'.repeat(37))
    expect(held(gate, 'bytes')).toEqual({ '': 100 })
    await retain(a, 4, 'r/1', 'x'.repeat(58))
    await retain(a, 5, 'r/1', 'x'.repeat(2))
    expect(held(gate, 'bytes')).toEqual({ '': 45 })
  })

  it.each([0, 1, 2] as const)('of QoS %i and of wills are counted when they are stored', async qos => {
    const gate = new Gate().use(limit({ name: 'kept', retained: 3 }))
    const test = await start({ gate })
    const will = { topic: 'w', payload: Buffer.from('gone'), qos, retain: true }
    const a = await test.connectRaw({ clientId: 'a', will })
    for (let id = 1; id <= 5; id++)
      a.send(a.publish(`r/${id}`, { payload: 'x', qos, retain: true, ...(qos > 0 && { messageId: id }) }))
    if (qos === 2) {
      await a.until('pubrec', 5)
      for (let id = 1; id <= 5; id++) a.send({ cmd: 'pubrel', messageId: id })
      await a.until('pubcomp', 5)
    }
    await a.roundTrip()
    expect(await topicsRetained(test)).toEqual(['r/1', 'r/2', 'r/3'])
    const b = await test.connectRaw({ clientId: 'b' })
    await retain(b, 1, 'r/3', '')
    a.socket.destroy()
    await eventually(() => expect(held(gate, 'kept')).toEqual({ '': 3 }))
    await retain(b, 2, 'r/4', 'x')
    expect(await topicsRetained(test)).toEqual(['r/1', 'r/2', 'w'])
  })

  it('older than the limiter count for all senders together, not for one of them', async () => {
    const before = await start({})
    const { persistence } = before.broker as unknown as { readonly persistence: object }
    const old = await before.connectRaw({ clientId: 'old' })
    for (let id = 1; id <= 4; id++) await retain(old, id, `r/${id}`, 'x')
    const gate = new Gate().use(
      limit({ name: 'all', retained: 5 }),
      limit({ name: 'each', retained: 2, per: 'client' }),
      limit({ name: 'anonymous', retained: 2, per: 'user' }),
    )
    const test = await start({ gate, aedes: { persistence } as object })
    await eventually(() => expect(held(gate, 'all')).toEqual({ '': 4 }))
    expect([held(gate, 'each'), held(gate, 'anonymous')]).toEqual([{}, {}])
    const a = await test.connectRaw({ clientId: 'a' })
    await retain(a, 1, 'r/5', 'x')
    await retain(a, 2, 'r/6', 'x')
    expect(held(gate, 'all')).toEqual({ '': 5 })
    await retain(a, 3, 'r/1', '')
    await retain(a, 4, 'r/2', 'x')
    expect([held(gate, 'all'), held(gate, 'each')]).toEqual([{ '': 4 }, { a: 2 }])
  })

  it('of the application itself are counted and never refused', async () => {
    const gate = new Gate().use(limit({ name: 'all', retained: 1 }))
    const test = await start({ gate })
    for (const topic of ['p/1', 'p/2'])
      await new Promise<void>(resolve => {
        const packet = { cmd: 'publish', topic, payload: 'x', qos: 0, retain: true, dup: false } as const
        test.broker.publish(packet, () => resolve())
      })
    expect(held(gate, 'all')).toEqual({ '': 2 })
    expect(await topicsRetained(test)).toEqual(['p/1', 'p/2'])
  })
})

async function topicsRetained(test: TestBroker): Promise<readonly string[]> {
  const { persistence } = test.broker as unknown as {
    persistence: { createRetainedStream(pattern: string): AsyncIterable<{ topic: string }> }
  }
  const topics: string[] = []
  for await (const { topic } of persistence.createRetainedStream('#')) topics.push(topic)
  return topics.sort()
}

describe('exceeded: disconnect', () => {
  it('closes the connection of a client that holds too much, whose items are released', async () => {
    const gate = new Gate().use(
      limit({ name: 'subs', subscriptions: 1, per: 'client', exceeded: 'disconnect' }),
      limit({ name: 'kept', retained: 1, per: 'client', exceeded: 'disconnect' }),
    )
    const test = await start({ gate })
    const a = await test.connectRaw({ clientId: 'a' })
    a.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'x/1', qos: 0 }] })
    a.send({ cmd: 'subscribe', messageId: 2, subscriptions: [{ topic: 'x/2', qos: 0 }] })
    await eventually(() => expect(a.closed).toBe(true))
    await eventually(() => expect(held(gate, 'subs')).toEqual({}))
    const b = await test.connectRaw({ clientId: 'b' })
    b.send(b.publish('r/1', { retain: true }), b.publish('r/2', { retain: true }))
    await eventually(() => expect(b.closed).toBe(true))
    expect(await topicsRetained(test)).toEqual(['r/1'])
    expect(test.limits.stats().disconnected).toBe(2)
  })
})

describe('a policy that is loaded while the broker runs', () => {
  const policy = (connections: number, subscriptions: number, retained: number): object => ({
    rules: [
      { name: 'open', connections, per: 'ip' },
      { name: 'subs', subscriptions, per: 'client' },
      { name: 'kept', retained },
    ],
  })

  it('continues from the current counts, and refuses only new items', async () => {
    const gate = await Gate.fromPolicy({ rules: [{ name: 'rate', limit: '1000/s' }] })
    const test = await start({ gate })
    const a = await test.connectRaw({ clientId: 'a' })
    await subscribe(a, 1, 'x/1', 'x/2')
    await retain(a, 1, 'r/1', 'x')
    await retain(a, 2, 'r/2', 'x')
    await gate.apply(policy(1, 2, 2))
    expect([held(gate, 'open'), held(gate, 'subs')]).toEqual([{ '127.0.0.1': 1 }, { a: 2 }])
    await eventually(() => expect(held(gate, 'kept')).toEqual({ '': 2 }))
    expect(await returnCode(test, 'b')).toBe(3)
    expect(await subscribe(a, 2, 'x/3')).toEqual([128])
    await gate.apply(policy(2, 3, 1))
    expect(await returnCode(test, 'b')).toBe(0)
    expect(await subscribe(a, 3, 'x/3', 'x/4')).toEqual([0, 128])
    // Lowered: what is held stays, and may be replaced by what takes no more.
    await retain(a, 3, 'r/1', 'y')
    await retain(a, 4, 'r/3', 'x')
    expect(held(gate, 'kept')).toEqual({ '': 2 })
    await gate.apply({ rules: [] })
    expect(gate.held.names.size).toBe(0)
    expect(await subscribe(a, 4, 'x/5', 'x/6')).toEqual([0, 0])
  })

  it('counts nothing after the limiter is detached', async () => {
    const gate = await Gate.fromPolicy(policy(10, 10, 10))
    const test = await start({ gate })
    const a = await test.connectRaw({ clientId: 'a' })
    await subscribe(a, 1, 'x/1')
    await retain(a, 1, 'r/1', 'x')
    test.limits.detach()
    expect(['open', 'subs', 'kept'].map(rule => held(gate, rule))).toEqual([{}, {}, {}])
  })
})

describe('counts of held items', () => {
  it.each([1, 2, 3, 4, 5, 6])(
    'agree with the broker after random actions of clients, seed %i',
    async seed => {
      const chance = random(seed)
      const gate = new Gate().use(
        limit({ name: 'open', connections: 4, per: 'client' }),
        limit({ name: 'all', connections: 5 }),
        limit({ name: 'subs', subscriptions: 4, per: 'client' }),
        limit({ name: 'kept', retained: 6 }),
        limit({ name: 'bytes', retained: '60B', per: 'client' }),
      )
      const test = await start({ gate })
      const ids = ['a', 'b', 'c', 'd', 'e', 'f']
      const live = new Map<string, RawClient>()
      let messageId = 0
      const connect = async (clientId: string): Promise<void> => {
        const raw = await test.connectRaw()
        const clean = chance.chance(0.5)
        raw.send({
          ...{ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean, clientId, keepalive: 0 },
          ...(chance.chance(0.3) && {
            will: {
              topic: `r/${chance.int(1, 9)}`,
              payload: Buffer.from('will'),
              qos: 0 as const,
              retain: true,
            },
          }),
        })
        const { returnCode: code } = (await raw.until('connack')) as { returnCode?: number }
        if (code === 0) live.set(clientId, raw)
      }
      for (let step = 0; step < 120; step++) {
        const id = chance.pick(ids)
        const raw = live.get(id)
        if (raw === undefined || raw.closed || chance.chance(0.15)) {
          await connect(id)
          continue
        }
        messageId = (messageId % 60_000) + 1
        const filter = `f/${chance.int(1, 7)}`
        const topic = `r/${chance.int(1, 9)}`
        await chance.pick<() => unknown>([
          () => subscribe(raw, messageId, filter, `f/${chance.int(1, 7)}`),
          () => unsubscribe(raw, messageId, filter),
          () => retain(raw, messageId, topic, 'x'.repeat(chance.int(0, 30))),
          () => raw.send(raw.publish(topic, { payload: 'x'.repeat(chance.int(0, 30)), retain: true })),
          () => raw.send(raw.publish(topic, { payload: '', retain: true })),
          () => {
            live.delete(id)
            if (chance.chance(0.5)) raw.send({ cmd: 'disconnect' })
            else raw.socket.destroy()
          },
        ])()
      }
      await eventually(async () => {
        const { clients, persistence } = test.broker as unknown as {
          readonly clients: Record<string, { readonly subscriptions: object }>
          readonly persistence: {
            createRetainedStream(pattern: string): AsyncIterable<{ topic: string; payload: Buffer }>
            subscriptionsByClient(client: { id: string }): Promise<readonly object[]>
          }
        }
        const connected = Object.keys(clients)
        expect(held(gate, 'open')).toEqual(Object.fromEntries(connected.map(id => [id, 1])))
        expect(held(gate, 'all')).toEqual(connected.length > 0 ? { '': connected.length } : {})
        const subs: Record<string, number> = {}
        for (const id of ids) {
          const count = Math.max(
            Object.keys(clients[id]?.subscriptions ?? {}).length,
            (await persistence.subscriptionsByClient({ id })).length,
          )
          if (count > 0) subs[id] = count
        }
        expect(held(gate, 'subs')).toEqual(subs)
        let [count, bytes] = [0, 0]
        for await (const { topic, payload } of persistence.createRetainedStream('#')) {
          count++
          bytes += topic.length + payload.length
        }
        expect(held(gate, 'kept')).toEqual(count > 0 ? { '': count } : {})
        expect(Object.values(held(gate, 'bytes')).reduce((sum, each) => sum + each, 0)).toBe(bytes)
        expect(count).toBeLessThanOrEqual(6)
      })
      expect(Math.max(...Object.values(held(gate, 'bytes')))).toBeLessThanOrEqual(60)
    },
  )
})
