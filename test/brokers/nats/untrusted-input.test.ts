import { connect as connectSocket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { copyMessageBytes } from '../../../brokers/nats/client-internals.ts'
import type { NatsMessage } from '../../../brokers/nats/index.ts'
import { NatsMessageSenderCache } from '../../../brokers/nats/message-sender-cache.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { Guard } from '../../../src/guard/guard.ts'
import { exempt, limit } from '../../../src/index.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import { GENERATIONS } from './client-versions.ts'
import { natsGate, Scene } from './scene.ts'

let server: NatsServer
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

/** Speaks the protocol itself: clients would refuse to send such headers. */
async function sendRaw(port: number, parts: readonly Buffer[]): Promise<void> {
  const socket = connectSocket(port, '127.0.0.1')
  await new Promise<void>(resolve => socket.once('data', () => resolve()))
  socket.write('CONNECT {"verbose":false,"headers":true}\r\n')
  for (const part of parts) socket.write(part)
  socket.write('PING\r\n')
  await new Promise<void>(resolve => {
    socket.on('data', chunk => chunk.includes('PONG') && resolve())
  })
  socket.destroy()
}

function hpub(subject: string, headers: Buffer | string, payload: Buffer | string): Buffer {
  const head = Buffer.concat([Buffer.from('NATS/1.0\r\n'), Buffer.from(headers), Buffer.from('\r\n\r\n')])
  const body = Buffer.from(payload)
  return Buffer.concat([
    Buffer.from(`HPUB ${subject} ${head.length} ${head.length + body.length}\r\n`),
    head,
    body,
    Buffer.from('\r\n'),
  ])
}

describe.each(GENERATIONS)('hostile messages to $name', generation => {
  it('neither stop the reader nor get past their limit', async () => {
    await using scene = await Scene.open(generation, server)
    const gate = natsGate(
      exempt({ name: 'urgent', when: { header: { name: 'priority', equals: 'urgent' } }, dialect: 'nats' }),
      exempt({ name: 'field', when: { payload: { field: '__proto__.x', equals: 1 } }, dialect: 'nats' }),
      limit({ name: 'a', rate: '1/min', per: ['topic', 'header.__proto__'], exceeded: 'drop' }),
    )
    const limits = scene.limit(gate)
    let delivered = 0
    limits.subscribe(scene.nc, 'h.>', { callback: () => void delivered++ })
    await scene.nc.flush()
    const twice = (make: (subject: string) => Buffer, subject: string): Buffer[] => [
      make(subject),
      make(subject),
    ]
    const many = Array.from({ length: 1_000 }, (_, index) => `h${index}: x`).join('\r\n')
    const sent = [
      ...twice(subject => hpub(subject, '__proto__: x\r\nconstructor: y', ''), 'h.proto'),
      ...twice(subject => hpub(subject, 'priority: a\r\npriority: b\r\npriority: c', 'x'), 'h.double'),
      ...twice(subject => hpub(subject, Buffer.from([0x78, 0x3a, 0xff, 0xfe, 0xc3]), 'x'), 'h.utf8'),
      ...twice(subject => hpub(subject, 'bad name: x', 'x'), 'h.name'),
      ...twice(subject => hpub(subject, many, 'x'), 'h.many'),
      ...twice(subject => hpub(subject, 'a: b', '{"__proto__":{"x":1}}'), 'h.json'),
      ...twice(subject => hpub(subject, 'a: b', Buffer.alloc(1_000_000, 123)), 'h.large'),
      ...twice(subject => Buffer.from(`PUB ${subject} 0\r\n\r\n`), 'h.empty'),
    ]
    await sendRaw(server.port, sent)
    await until(() => limits.stats().received === sent.length)
    // A payload that says so in its own right is exempt, and only that.
    expect(limits.stats()).toMatchObject({ fallbacks: 0, handlerErrors: 0, dropped: sent.length - delivered })
    expect([sent.length / 2, sent.length / 2 + 1]).toContain(delivered)
    await scene.publish('h.after', 1)
    await until(() => limits.stats().received === sent.length + 1)
  })

  it.each([
    ['h', 20_000],
    // A stream takes no more than 64 KB of them.
    ['jets', 5_000],
  ] as const)(
    '%s: with %d headers cost next to nothing, and are still counted by header',
    async (kind, count) => {
      await using scene = await Scene.open(generation, server)
      const subject = `${kind}.${generation.name.at(-1)}`
      const rule = limit({ name: 'a', rate: '1/min', per: 'header.h5', exceeded: 'drop' })
      const limits = scene.limit(natsGate(rule))
      let delivered = 0
      if (kind === 'h') limits.subscribe(scene.nc, subject, { callback: () => void delivered++ })
      else {
        await scene.js.addStream(`large${generation.name.at(-1)}`, [subject])
        await limits.consume(
          await scene.js.addConsumer(`large${generation.name.at(-1)}`, 'c'),
          () => void delivered++,
        )
      }
      await scene.nc.flush()
      const many = (value: number): string =>
        Array.from({ length: count }, (_, index) => `h${index}: ${index === 5 ? value : 'x'}`).join('\r\n')
      const before = process.cpuUsage()
      await sendRaw(server.port, [
        hpub(subject, many(1), 'x'),
        hpub(subject, many(1), 'x'),
        hpub(subject, many(2), 'x'),
      ])
      await until(() => limits.stats().received === 3)
      await until(() => limits.stats().dropped === 1)
      // CPU of this process, not time on a clock: the client alone takes more than ten times that.
      expect(process.cpuUsage(before).user).toBeLessThan(2_000_000)
      expect(delivered).toBe(2)
    },
  )

  it('held in a queue pin no socket chunks, and are whole when they pass', async () => {
    await using scene = await Scene.open(generation, server)
    const limits = scene.limit(
      natsGate(limit({ name: 'a', rate: '20/s burst 1', per: 'topic', exceeded: 'throttle' })),
    )
    const seen: { bytes: number; text: string; reply: string | undefined }[] = []
    limits.subscribe(scene.nc, 'q', {
      callback: message => {
        const { data, reply } = message
        seen.push({ bytes: data.buffer.byteLength, text: Buffer.from(data).toString(), reply })
      },
    })
    await scene.nc.flush()
    const headers = generation.headers()
    headers.append('k', 'v')
    const options = { headers, reply: 'answer.here' }
    for (let index = 0; index < 5; index++) scene.sender.publish('q', Buffer.from(`text ${index}`), options)
    for (let index = 0; index < 100; index++) scene.sender.publish('other', Buffer.alloc(500))
    await until(() => seen.length === 5)
    for (const [index, { bytes, text, reply }] of seen.entries()) {
      expect({ text, reply }).toEqual({ text: `text ${index}`, reply: 'answer.here' })
      if (index > 0) expect(bytes).toBeLessThan(64)
    }
  })
})

describe('messages of a client that fails', () => {
  const broken = {
    subject: 'a',
    sid: 1,
    get data(): Uint8Array {
      throw new Error('data')
    },
    get headers(): never {
      throw new Error('headers')
    },
    get info(): never {
      throw new Error('info')
    },
    ack: () => {
      throw new Error('ack')
    },
    nak: () => {
      throw new Error('nak')
    },
    working: () => {
      throw new Error('working')
    },
    term: () => {
      throw new Error('term')
    },
  } as unknown as NatsMessage

  it.each(['drop', 'reject', 'retry', 'redirect', 'throttle', 'queue', 'latest', 'degrade'] as const)(
    'harm nothing where the rule says %s',
    async exceeded => {
      await using scene = await Scene.open(GENERATIONS[1]!, server)
      const gate = natsGate(
        exempt({ name: 'e', when: { header: { name: 'k', equals: 'v' } }, dialect: 'nats' }),
        limit({ name: 'a', rate: '1/min', dialect: 'nats', cost: { payload: 'x' }, exceeded }),
      )
      const limits = scene.limit(gate, {
        deadLetter: 'dead.{topic}',
        identify: () => {
          throw new Error('identify')
        },
      })
      const take = limits.wrap(() => {
        throw new Error('handler')
      })
      for (let count = 0; count < 3; count++) expect(() => take(broken)).not.toThrow()
      await limits.drain()
      expect(limits.stats()).toMatchObject({ received: 3, held: 0, handling: 0 })
    },
  )

  it('keep the bytes they have where they are frozen', () => {
    const frozen = Object.freeze({ _rdata: new Uint8Array(64).subarray(0, 4), _msg: Object.freeze({}) })
    expect(() => copyMessageBytes(frozen as unknown as NatsMessage)).not.toThrow()
  })
})

describe('senders', () => {
  const message = (subject: string): NatsMessage => ({ subject, data: new Uint8Array(0), sid: 1 })
  const placeOf = (senders: NatsMessageSenderCache, subject: string) => {
    const taken = message(subject)
    return senders.senderOf(taken, senders.subjects.subjectOf(taken))
  }

  it('are remembered up to a bound, those in use the longest', () => {
    const senders = new NatsMessageSenderCache(undefined, () => {})
    const mine = placeOf(senders, 'mine').sender
    const invented = MAX_SIZES.cachedSenders * 2
    for (let index = 0; index < invented; index++) {
      placeOf(senders, `x.${index}`)
      if (index % 1_000 === 0) expect(placeOf(senders, 'mine').sender).toBe(mine)
    }
    expect(senders.size).toBeLessThanOrEqual(MAX_SIZES.cachedSenders)
    expect(senders.size).toBeGreaterThan(MAX_SIZES.cachedSenders / 2)
  })

  it('that wait are kept, so that their order stays', () => {
    const senders = new NatsMessageSenderCache(undefined, () => {})
    const gate = natsGate(limit({ name: 'a', rate: '1/min', exceeded: 'throttle' }))
    const guard = new Guard(gate)
    const place = placeOf(senders, 'busy')
    const waiting = { topic: 'busy', on: 'publish', sender: place.sender, size: 1 } as const
    for (let count = 0; count < 2; count++) place.senderQueueOf(guard).admit(waiting, () => {})
    expect(place.held).toBe(1)
    for (let index = 0; index < MAX_SIZES.cachedSenders * 2; index++) placeOf(senders, `x.${index}`)
    expect(placeOf(senders, 'busy')).toBe(place)
    guard.close()
  })

  it('of subjects whose identification fails are never those of another sender', () => {
    const senders = new NatsMessageSenderCache(
      ({ subject }) => {
        if (subject !== 'known') throw new Error('no')
        return { client: 'a' }
      },
      () => {},
    )
    const known = placeOf(senders, 'known')
    const forged = ['1:a-----', '["a",null,null,null,null,null]', 'other']
    const found = forged.map(subject => placeOf(senders, subject))
    expect(new Set([known, ...found]).size).toBe(4)
    for (const { sender } of found) expect(sender.client).toBeUndefined()
  })

  it('are told apart by every part', () => {
    const said = [{ client: 'a' }, { user: 'a' }, { client: 'a', roles: ['x'] }, { roles: ['x', 'y'] }, {}]
    let next = 0
    const senders = new NatsMessageSenderCache(
      () => said[next++ % said.length],
      () => {},
    )
    const first = said.map(() => placeOf(senders, 's'))
    const again = said.map(() => placeOf(senders, 's'))
    expect(new Set(first).size).toBe(said.length)
    expect(again).toEqual(first)
  })
})
