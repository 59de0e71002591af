import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { MessageLimits, NatsMessage } from '../../../brokers/nats/index.ts'
import { limit } from '../../../src/index.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import { CLIENTS } from './public-api.ts'
import { natsGate, numbers, Scene, textOf } from './scene.ts'

let server: NatsServer
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

describe.each(CLIENTS)('subscriptions of $name', generation => {
  let scene: Scene
  beforeEach(async () => {
    scene = await Scene.open(generation, server)
  })
  afterEach(() => scene[Symbol.asyncDispose]())

  /** Sends a request and tells the codes of its answer. */
  async function ask(
    subject: string,
  ): Promise<{ code: string; fields: Record<string, string>; text: string }> {
    const answer = await scene.sender.request(subject, 'x', { timeout: 2_000 })
    const fields = (answer.headers?.keys() ?? []).map(name => [name, answer.headers!.get(name)])
    return {
      code: answer.headers?.get('Nats-Service-Error-Code') ?? '',
      fields: Object.fromEntries(fields),
      text: textOf(answer),
    }
  }

  it('hand over what may pass and drop the rest', async () => {
    const limits = scene.limit(natsGate(limit({ name: 'a', rate: '5/min', per: 'topic', exceeded: 'drop' })))
    const seen: string[] = []
    limits.subscribe(scene.nc, 'a.>', { callback: message => seen.push(message.subject) })
    await scene.nc.flush()
    await scene.publish('a.one', 8)
    await scene.publish('a.two', 3)
    await until(() => limits.stats().received === 11)
    expect(seen).toEqual([...Array(5).fill('a.one'), ...Array(3).fill('a.two')])
    expect(limits.stats()).toMatchObject({ delivered: 8, dropped: 3, held: 0, senders: 2 })
  })

  it('hold what is throttled, in the order of its sender, and nobody else', async () => {
    const limits = scene.limit(
      natsGate(limit({ name: 'a', rate: '50/s burst 1', per: 'topic', exceeded: 'throttle' })),
    )
    const seen: string[] = []
    limits.subscribe(scene.nc, 'a.>', {
      callback: message => void seen.push(`${message.subject} ${textOf(message)}`),
    })
    await scene.nc.flush()
    await scene.publish('a.noisy', 10)
    await scene.publish('a.quiet', 1)
    await until(() => seen.length === 11)
    expect(seen.indexOf('a.quiet 0')).toBeLessThan(5)
    expect(seen.filter(text => text.includes('noisy'))).toEqual(numbers(10).map(text => `a.noisy ${text}`))
  })

  it('queue the urgent before the others', async () => {
    const limits = scene.limit(
      natsGate(
        limit({
          name: 'a',
          rate: '50/s burst 1',
          exceeded: { queue: { priority: { header: 'priority' } } },
        }),
      ),
    )
    const seen: string[] = []
    limits.subscribe(scene.nc, 'a', { callback: message => void seen.push(textOf(message)) })
    await scene.nc.flush()
    for (const priority of ['low', 'low', 'emergency', 'high']) {
      const headers = generation.headers()
      headers.append('priority', priority)
      scene.sender.publish('a', Buffer.from(priority), { headers })
    }
    await until(() => seen.length === 4)
    expect(seen).toEqual(['low', 'emergency', 'high', 'low'])
  })

  it('count by what the application says of the sender', async () => {
    const limits = scene.limit(natsGate(limit({ name: 'a', rate: '2/min', per: 'user', exceeded: 'drop' })), {
      identify: message => ({ user: message.subject.split('.')[1]! }),
    })
    const seen: string[] = []
    limits.subscribe(scene.nc, 'a.>', { callback: message => void seen.push(message.subject) })
    await scene.nc.flush()
    for (const subject of ['a.ann.x', 'a.ann.y', 'a.ann.z', 'a.bob.x']) await scene.publish(subject, 1)
    await until(() => limits.stats().received === 4)
    expect(seen).toEqual(['a.ann.x', 'a.ann.y', 'a.bob.x'])
  })

  it('tell the handler what the limits say', async () => {
    const limits = scene.limit(natsGate(limit({ name: 'a', rate: '60/min burst 5', exceeded: 'drop' })), {
      legacyFields: true,
    })
    const told: MessageLimits[] = []
    limits.subscribe(scene.nc, 'a', { callback: (_message, limited) => void told.push(limited) })
    await scene.nc.flush()
    await scene.publish('a', 2)
    await until(() => told.length === 2)
    expect(told[1]!.decision).toMatchObject({ allowed: true, rule: 'a', remaining: 3 })
    expect(told[1]!.fields).toMatchObject({
      'RateLimit-Policy': '"a";q=5;w=5',
      RateLimit: '"a";r=3;t=2',
      'X-RateLimit-Limit': '5',
    })
  })

  it.each(['drop', 'reject', 'retry'] as const)(
    'answer a request that may not pass with 429, also where the rule says %s',
    async exceeded => {
      const limits = scene.limit(natsGate(limit({ name: 'a', rate: '2/min', exceeded })))
      limits.respond(scene.nc, 'svc', message => message.respond?.('fine'))
      await scene.nc.flush()
      expect(await ask('svc')).toMatchObject({ code: '', text: 'fine' })
      expect(await ask('svc')).toMatchObject({ code: '', text: 'fine' })
      expect(await ask('svc')).toMatchObject({
        code: '429',
        text: '{"error":{"code":429,"err_code":10167,"description":"too many requests"}}',
        fields: {
          'Nats-Service-Error': expect.stringMatching(/Try again in/),
          'RateLimit-Policy': '"a";q=2;w=60',
          RateLimit: expect.stringMatching(/^"a";r=0;t=\d+$/),
          'Retry-After': expect.stringMatching(/^(29|30)$/),
        },
      })
      expect(limits.stats()).toMatchObject({ delivered: 2, refused: 1 })
    },
  )

  it('leave requests that are meant for a service to it, whatever is done with them here', async () => {
    const redirects = limit({ name: 'b', rate: '1/min', dialect: 'nats', exceeded: 'redirect' })
    const gate = natsGate()
      .use('svc.a', limit({ name: 'a', rate: '1/min' }))
      .use('svc.b', redirects)
    gate.use('svc.c', limit({ name: 'c', rate: '1/min', exceeded: 'throttle' }))
    const limits = scene.limit(gate, { maxHeldPerSender: 2 })
    const tap = scene.nc.subscribe('svc.>') as unknown as AsyncIterable<NatsMessage>
    const iterated = limits.iterate(tap)
    const wrapped = limits.wrap(() => {})
    scene.nc.subscribe('svc.>', { callback: (_error, message) => wrapped(message) })
    limits.subscribe(scene.nc, 'svc.>', { callback: () => {} })
    limits.subscribe(scene.nc, 'svc.>', { callback: () => {}, queue: 'taps' })
    const end = (async () => {
      for await (const _ of iterated);
    })()
    // Where a stream or another listener would answer what is redirected.
    scene.sender.subscribe('dead.>', { callback: (_error, message) => void message.respond?.('not mine') })
    scene.sender.subscribe('svc.>', {
      callback: (_error, message) => void setTimeout(() => message.respond?.('fine'), 20),
    })
    await Promise.all([scene.nc.flush(), scene.sender.flush()])
    const asked = ['a', 'b', 'c'].flatMap(name => Array(5).fill(`svc.${name}`)).map(ask)
    await until(() => limits.stats().received >= 4 * 15)
    await limits.drain()
    await end
    for (const { text, code } of await Promise.all(asked))
      expect({ text, code }).toEqual({ text: 'fine', code: '' })
    expect(limits.stats()).toMatchObject({ refused: 0, held: 0 })
  })

  it('do not answer for a stream whose subjects they listen to', async () => {
    const stream = `tapped${generation.name.replace(/\W/g, '')}`
    const subject = `tapped.${stream}`
    await scene.js.addStream(stream, [subject])
    const limits = scene.limit(natsGate(limit({ name: 'a', rate: '1/min' })))
    limits.subscribe(scene.nc, subject, { callback: () => {} })
    await scene.nc.flush()
    await scene.store(subject, 20)
    await until(() => limits.stats().received === 20)
    expect(limits.stats()).toMatchObject({ delivered: 1, dropped: 19, refused: 0 })
  })

  it('answer a rejected request where they are asked to, so that js.publish reads it', async () => {
    const gate = natsGate(limit({ name: 'a', rate: '1/min', per: 'topic' }))
    const limits = scene.limit(gate)
    limits.subscribe(scene.nc, 'svc.1', { answer: true, callback: message => void message.respond?.('fine') })
    const wrapped = limits.wrap(message => void message.respond?.('fine'), { answer: true })
    scene.nc.subscribe('svc.2', { callback: (_error, message) => wrapped(message) })
    const source = scene.nc.subscribe('svc.3') as unknown as AsyncIterable<NatsMessage>
    void (async () => {
      for await (const message of limits.iterate(source, { answer: true })) message.respond?.('fine')
    })()
    await scene.nc.flush()
    for (const subject of ['svc.1', 'svc.2', 'svc.3']) {
      expect(await ask(subject)).toMatchObject({ code: '', text: 'fine' })
      expect((await ask(subject)).code).toBe('429')
      await expect(scene.js.publish(subject)).rejects.toMatchObject({ message: 'too many requests' })
    }
    expect(limits.stats()).toMatchObject({ delivered: 3, refused: 6, dropped: 0 })
  })

  it('answer a request whose handler fails, and one that is held while they are drained', async () => {
    const limits = scene.limit(natsGate(limit({ name: 'a', rate: '2/min', exceeded: 'throttle' })))
    let calls = 0
    limits.respond(scene.nc, 'svc', () => {
      if (++calls === 1) throw new Error('broken')
      return Promise.reject(new Error('broken later'))
    })
    await scene.nc.flush()
    expect((await ask('svc')).code).toBe('500')
    expect((await ask('svc')).code).toBe('500')
    const held = ask('svc')
    await until(() => limits.stats().held === 1)
    await limits.drain()
    expect((await held).code).toBe('429')
    expect(limits.stats()).toMatchObject({ held: 0, handlerErrors: 2 })
  })

  it('redirect with the reason, but nothing twice', async () => {
    const limits = scene.limit(
      natsGate(limit({ name: 'a', rate: '1/min', dialect: 'nats', exceeded: 'redirect' })),
    )
    const dead: { subject: string; from: string[]; kept: string[] }[] = []
    scene.sender.subscribe('dead.>', {
      callback: (_error, { subject, headers }) =>
        dead.push({
          subject,
          from: headers?.values('topicgate-redirected-from') ?? [],
          kept: headers?.values('kept') ?? [],
        }),
    })
    for (const subject of ['a.>', 'dead.>']) limits.subscribe(scene.nc, subject, { callback: () => {} })
    await scene.nc.flush()
    const headers = generation.headers()
    for (const value of ['1', '2']) headers.append('kept', value)
    for (let count = 0; count < 3; count++) scene.sender.publish('a.b', Buffer.from('x'), { headers })
    await scene.sender.flush()
    await until(() => limits.stats().received === 5 && dead.length === 2)
    expect(dead).toEqual(Array(2).fill({ subject: 'dead.a.b', from: ['a.b'], kept: ['1', '2'] }))
    // What has been redirected comes by again, and goes nowhere.
    expect(limits.stats()).toMatchObject({ delivered: 1, redirected: 2, dropped: 2 })
  })

  it('deliver a cheaper form: stripped, marked, and 1 in 2', async () => {
    const limits = scene.limit(
      natsGate(
        limit({
          name: 'a',
          rate: '1/min',
          exceeded: { degrade: { sample: 2, keep: ['value'], mark: 'x-degraded' } },
        }),
      ),
    )
    const seen: unknown[] = []
    limits.subscribe(scene.nc, 'a', {
      callback: message => {
        const { json } = message as NatsMessage & { json(): unknown }
        seen.push([json.call(message), textOf(message), message.headers?.values('x-degraded') ?? []])
      },
    })
    await scene.nc.flush()
    for (let count = 0; count < 5; count++) scene.sender.publish('a', Buffer.from('{"value":1,"more":2}'))
    await until(() => limits.stats().received === 5)
    const cheap = [{ value: 1 }, '{"value":1}', ['a']]
    expect(seen).toEqual([[{ value: 1, more: 2 }, '{"value":1,"more":2}', []], cheap, cheap])
  })

  it('survive what a handler throws, at once or later', async () => {
    const limits = scene.limit(natsGate())
    let calls = 0
    limits.subscribe(scene.nc, 'a', {
      callback: () => {
        if (++calls % 2 === 0) throw new Error('sync')
        return Promise.reject(new Error('async'))
      },
    })
    await scene.nc.flush()
    await scene.publish('a', 10)
    await until(() => limits.stats().handlerErrors === 10)
    expect(limits.stats()).toMatchObject({ received: 10, delivered: 10, handling: 0 })
  })

  it('leave out subjects of the server’s own, unless a rule names them', async () => {
    const limits = scene.limit(natsGate(limit({ name: 'a', rate: '1/min', exceeded: 'drop' })))
    const seen: string[] = []
    limits.subscribe(scene.nc, '>', { callback: ({ subject }) => void seen.push(subject) })
    await scene.nc.flush()
    for (const subject of ['_INBOX.x.y', '$KV.b.k', 'a', 'a']) await scene.publish(subject, 2)
    // Answers to the client's own requests may come, too.
    await until(() => limits.stats().received >= 8)
    for (const [subject, count] of [
      ['_INBOX.x.y', 2],
      ['$KV.b.k', 2],
      ['a', 1],
    ] as const) {
      expect(seen.filter(each => each === subject)).toHaveLength(count)
    }

    const named = natsGate()
    named.use('$KV.>', limit({ name: 'kv', rate: '1/min', exceeded: 'drop' }))
    const other = scene.limit(named)
    other.subscribe(scene.nc, '$KV.>', { callback: () => {} })
    await scene.nc.flush()
    await scene.publish('$KV.b.k', 3)
    await until(() => other.stats().received === 3)
    expect(other.stats()).toMatchObject({ delivered: 1, dropped: 2 })
  })

  it('iterate what may pass, and end with the loop', async () => {
    const limits = scene.limit(natsGate(limit({ name: 'a', rate: '3/min', per: 'topic', exceeded: 'drop' })))
    const subscription = scene.nc.subscribe('a.>') as unknown as AsyncIterable<NatsMessage>
    await scene.nc.flush()
    await scene.publish('a.x', 5)
    await scene.publish('a.y', 5)
    const seen: string[] = []
    for await (const message of limits.iterate(subscription)) {
      seen.push(`${message.subject} ${textOf(message)}`)
      if (seen.length === 5) break
    }
    expect(seen).toEqual(['a.x 0', 'a.x 1', 'a.x 2', 'a.y 0', 'a.y 1'])
    await scene.publish('a.z', 1)
    await scene.nc.flush()
    expect((subscription as unknown as { isClosed(): boolean }).isClosed()).toBe(true)
  })

  it('share an iterator among workers: all get messages, and all end', async () => {
    const limits = scene.limit(natsGate(limit({ name: 'a', rate: '1000/s', exceeded: 'throttle' })))
    const took = [0, 0, 0, 0, 0]
    const work = async (iterator: AsyncIterator<NatsMessage>): Promise<unknown> =>
      Promise.all(
        took.map(async (_, worker) => {
          while (!(await iterator.next()).done) {
            took[worker]!++
            await new Promise(resolve => setImmediate(resolve))
          }
        }),
      )
    for (const end of ['unsubscribe', 'drain'] as const) {
      took.fill(0)
      const subscription = scene.nc.subscribe('a.>') as unknown as AsyncIterable<NatsMessage> & {
        unsubscribe(): void
      }
      const ended = work(limits.iterate(subscription))
      await scene.nc.flush()
      for (let round = 0; round < 10; round++) {
        await scene.publish('a.b', 5)
        await until(() => took.reduce((sum, count) => sum + count) === 5 * (round + 1))
      }
      if (end === 'drain') await limits.drain()
      else subscription.unsubscribe()
      await ended
      for (const count of took) expect(count).toBeGreaterThan(0)
    }
  })

  it('leave their queue group while they hold too much, so that nothing is lost', async () => {
    const throttled = natsGate(limit({ name: 'a', rate: '200/s burst 1', exceeded: 'throttle' }))
    const slow = scene.limit(throttled)
    const quick = scene.limit(natsGate())
    const seen: string[] = []
    const callback = (message: NatsMessage): void => void seen.push(textOf(message))
    slow.subscribe(scene.nc, 'a', { queue: 'g', leaveAt: 20, callback })
    quick.subscribe(scene.sender, 'a', { queue: 'g', callback })
    await scene.nc.flush()
    for (let burst = 0; burst < 10; burst++) {
      await scene.publish('a', 50)
      const due = 50 * (burst + 1)
      await until(() => slow.stats().received + quick.stats().received === due)
    }
    await until(() => seen.length === 500)
    const taken = slow.stats().received
    expect(taken).toBeGreaterThan(20)
    expect(taken).toBeLessThan(250)
    expect(taken + quick.stats().received).toBe(500)
  })
})
