import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { limit } from '../../../src/index.ts'
import { type NatsServer, startNats } from '../../support/nats.ts'
import { until } from '../../support/wait.ts'
import { GENERATIONS } from './client-versions.ts'
import { natsGate, numbers, Scene, textOf } from './scene.ts'

let server: NatsServer
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

describe.each(GENERATIONS)('handlers of a subscription of $name', generation => {
  /** Handlers that are done when they are told so. */
  class Work {
    readonly seen: string[] = []
    atOnce = 0
    most = 0
    readonly #ends: (() => void)[] = []

    take(message: { readonly data: Uint8Array }): Promise<void> {
      this.seen.push(textOf(message))
      this.atOnce++
      this.most = Math.max(this.most, this.atOnce)
      return new Promise(resolve => {
        this.#ends.push(() => {
          this.atOnce--
          resolve()
        })
      })
    }

    end(count = this.#ends.length): void {
      for (const end of this.#ends.splice(0, count)) end()
    }
  }

  it('are no more at once than there may be; the others wait, and pass in their order', async () => {
    await using scene = await Scene.open(generation, server)
    const limits = scene.limit(natsGate(), { maxInFlight: 3 })
    const work = new Work()
    limits.subscribe(scene.nc, 'a', { callback: message => work.take(message) })
    await scene.nc.flush()
    await scene.publish('a', 50)
    await until(() => limits.stats().received === 50)
    expect(limits.stats()).toMatchObject({ delivered: 3, handling: 3, slow: 0 })
    await until(() => {
      work.end(1)
      return work.seen.length === 50 && work.atOnce === 0
    })
    expect(work.seen).toEqual(numbers(50))
    expect(work.most).toBe(3)
    expect(limits.stats()).toMatchObject({ delivered: 50, handling: 0, dropped: 0, slow: 0 })
  })

  it('that are too slow lose what finds no room to wait, and that is counted', async () => {
    await using scene = await Scene.open(generation, server)
    const limits = scene.limit(natsGate(), { maxInFlight: 2 })
    const work = new Work()
    limits.subscribe(scene.nc, 'a', { callback: message => work.take(message) })
    await scene.nc.flush()
    const kept = MAX_SIZES.waitingForHandler + 2
    await scene.publish('a', kept + 7)
    await until(() => limits.stats().received === kept + 7)
    expect(limits.stats()).toMatchObject({ delivered: 2, slow: 7, dropped: 7 })
    await until(() => {
      work.end()
      return work.seen.length === kept
    })
    expect(work.seen).toEqual(numbers(kept))
  })

  it.each([false, true])(
    'that return ill-behaved thenables count as one each, watched: %s',
    async watched => {
      await using scene = await Scene.open(generation, server)
      const gate = natsGate()
      if (watched) gate.handlerMonitor.on(() => {})
      const limits = scene.limit(gate, { maxInFlight: 2 })
      let calls = 0
      let thens = 0
      const odd = [
        () => ({
          then() {
            throw new Error('then throws')
          },
        }),
        () => ({
          then(fulfil: (value?: unknown) => void, reject: (cause: Error) => void) {
            thens++
            fulfil()
            fulfil()
            reject(new Error('thrice'))
          },
        }),
        () => ({
          get then(): unknown {
            throw new Error('no then')
          },
        }),
      ]
      const work = new Work()
      limits.subscribe(scene.nc, 'a', {
        callback: message => {
          calls++
          return calls <= 12 ? odd[calls % 3]!() : work.take(message)
        },
      })
      await scene.nc.flush()
      await scene.publish('a', 12)
      await until(() => calls === 12 && limits.stats().handling === 0)
      expect(thens).toBe(4)
      expect(limits.stats()).toMatchObject({ delivered: 12, handlerErrors: 8, held: 0 })
      await scene.publish('a', 5)
      await until(() => limits.stats().received === 17)
      expect(limits.stats().handling).toBe(2)
      await until(() => {
        work.end()
        return work.seen.length === 5 && limits.stats().handling === 0
      })
    },
  )

  it('that are too slow leave no request without an answer', async () => {
    await using scene = await Scene.open(generation, server)
    const limits = scene.limit(natsGate(), { maxInFlight: 1 })
    const work = new Work()
    limits.respond(scene.nc, 'r', message => work.take(message))
    await scene.nc.flush()
    await scene.publish('r', MAX_SIZES.waitingForHandler + 1)
    const answer = await scene.sender.request('r', '', { timeout: 5_000 })
    expect(answer.headers?.get('Nats-Service-Error-Code')).toBe('429')
    expect(limits.stats()).toMatchObject({ slow: 1, refused: 1, dropped: 0 })
  })

  it.each([
    ['discard', 1],
    ['pass', 10],
  ] as const)('still missing at the end: what waits for them goes the way of %s', async (held, handled) => {
    await using scene = await Scene.open(generation, server)
    const limits = scene.limit(natsGate(), { maxInFlight: 1 })
    const work = new Work()
    limits.subscribe(scene.nc, 'a', { callback: message => work.take(message) })
    await scene.nc.flush()
    await scene.publish('a', 10)
    await until(() => limits.stats().received === 10)
    await limits.drain({ held, timeoutMs: 1 })
    expect(work.seen).toEqual(numbers(handled))
    work.end()
    await until(() => limits.stats().handling === 0)
    expect(limits.stats()).toMatchObject({ delivered: handled, slow: 0 })
  })
})

describe.each(GENERATIONS)('limits of handlers at work, $name', generation => {
  const rule = limit({ name: 'work', inFlight: 2, per: 'tenant' })
  const gateOf = () => natsGate().use('*.{tenant}', rule)

  /** Handlers by tenant, each at work until it is asked to end. */
  class Tenants {
    readonly most = new Map<string, number>()
    readonly done: string[] = []
    readonly #atWork = new Map<string, number>()
    readonly #ends: (() => void)[] = []

    take({ subject, data }: { readonly subject: string; readonly data: Uint8Array }): Promise<void> {
      const tenant = subject.split('.')[1]!
      const count = (this.#atWork.get(tenant) ?? 0) + 1
      this.#atWork.set(tenant, count)
      this.most.set(tenant, Math.max(this.most.get(tenant) ?? 0, count))
      return new Promise(resolve => {
        this.#ends.push(() => {
          this.#atWork.set(tenant, this.#atWork.get(tenant)! - 1)
          this.done.push(`${tenant} ${textOf({ data })}`)
          resolve()
        })
      })
    }

    end(): void {
      for (const end of this.#ends.splice(0)) end()
    }
  }

  async function finish(work: Tenants, count: number): Promise<void> {
    await until(() => {
      work.end()
      return work.done.length === count
    })
    expect(work.done.filter(text => text.startsWith('noisy'))).toEqual(
      numbers(30).map(text => `noisy ${text}`),
    )
    expect(Object.fromEntries(work.most)).toEqual({ noisy: 2, quiet: 2 })
  }

  it.each(['subscribe', 'consume'] as const)(
    'are kept to per tenant, in order, and a quiet one does not wait: %s',
    async how => {
      await using scene = await Scene.open(generation, server)
      const limits = scene.limit(gateOf())
      const work = new Tenants()
      const prefix = `${how}${generation.name.at(-1)}`
      if (how === 'subscribe') {
        limits.subscribe(scene.nc, `${prefix}.>`, { callback: message => work.take(message) })
        await scene.nc.flush()
        await scene.publish(`${prefix}.noisy`, 30)
        await scene.publish(`${prefix}.quiet`, 2)
      } else {
        await scene.js.addStream(prefix, [`${prefix}.>`])
        await scene.store(`${prefix}.noisy`, 30)
        await scene.store(`${prefix}.quiet`, 2)
        const consumer = await scene.js.addConsumer(prefix, 'c', { max_ack_pending: -1 })
        await limits.consume(consumer, message => work.take(message))
      }
      await until(() => work.most.get('quiet') === 2)
      expect(work.most.get('noisy')).toBe(2)
      await finish(work, 32)
      await until(() => limits.stats().handling === 0)
      expect(limits.stats()).toMatchObject({ delivered: 32, dropped: 0, slow: 0, sentBack: 0 })
    },
  )

  it('bound the handlers of a consumer also where `maxInFlight` alone is given', async () => {
    await using scene = await Scene.open(generation, server)
    const stream = `most${generation.name.at(-1)}`
    await scene.js.addStream(stream, [`${stream}.>`])
    await scene.store(`${stream}.a`, 300)
    const consumer = await scene.js.addConsumer(stream, 'c', { max_ack_pending: -1 })
    const limits = scene.limit(natsGate(), { maxInFlight: 5 })
    const work = new Tenants()
    await limits.consume(consumer, message => work.take(message))
    await until(() => limits.stats().received >= 100)
    await until(() => {
      work.end()
      return work.done.length === 300
    })
    expect(work.most.get('a')).toBe(5)
    expect(limits.stats()).toMatchObject({ slow: 0, sentBack: 0 })
  })

  it('refuse what finds no room where the rule says so', async () => {
    await using scene = await Scene.open(generation, server)
    const dropping = limit({ name: 'work', inFlight: 1, exceeded: 'drop' })
    const limits = scene.limit(natsGate(dropping))
    const work = new Tenants()
    limits.subscribe(scene.nc, 'refused.*', { callback: message => work.take(message) })
    await scene.nc.flush()
    await scene.publish('refused.a', 3)
    await until(() => limits.stats().received === 3)
    expect(limits.stats()).toMatchObject({ delivered: 1, dropped: 2 })
    work.end()
    await until(() => limits.stats().handling === 0)
    await scene.publish('refused.a', 1)
    await until(() => limits.stats().delivered === 2)
    work.end()
  })

  it('send held messages back at the end, and refuse loops that nobody can see into', async () => {
    await using scene = await Scene.open(generation, server)
    const stream = `back${generation.name.at(-1)}`
    await scene.js.addStream(stream, [`${stream}.>`])
    await scene.store(`${stream}.a`, 6)
    const consumer = await scene.js.addConsumer(stream, 'c', { max_ack_pending: -1 })
    const limits = scene.limit(gateOf())
    expect(() => limits.iterate(scene.nc.subscribe('x') as never)).toThrow(/gate\.run/)
    await expect(limits.fetch(consumer)).rejects.toThrow(/gate\.run/)
    await expect(limits.next(consumer)).rejects.toThrow(/gate\.run/)
    const work = new Tenants()
    await limits.consume(consumer, message => work.take(message))
    await until(() => limits.stats().received === 6)
    await limits.drain({ timeoutMs: 1 })
    expect(limits.stats()).toMatchObject({ delivered: 2, sentBack: 4 })
    work.end()
  })
})
