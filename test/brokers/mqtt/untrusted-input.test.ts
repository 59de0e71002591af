import { describe, expect, it } from 'vitest'
import { exempt, limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { openScene } from './harness.ts'

const NEVER = '1 per 1000s'

describe('untrusted input', () => {
  it('reads user properties of any name, repeated ones as lists', async () => {
    const rules = [
      exempt({ name: 'vip', when: { header: { name: 'tier', equals: 'gold' } } }),
      limit({ name: 'r', rate: NEVER, per: 'header.__proto__', exceeded: 'drop' }),
    ]
    await using scene = await openScene({ rules, version: 5 })
    const send = (userProperties: object): Promise<void> =>
      scene.sender.publish('in/a', 'x', { qos: 1, properties: { userProperties: userProperties as never } })
    const named = (value: string): object =>
      Object.defineProperty({}, '__proto__', { value, enumerable: true })
    await send({ tier: ['silver', 'gold'], constructor: 'x' })
    await send(named('one'))
    await send(named('one'))
    await send(named('two'))
    await send({ ['n'.repeat(60_000)]: 'v', '': '' })
    await send(Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`p${index}`, 'v'])))
    await until(() => scene.limits.stats().received === 6)
    // The exempt one, each value of the header once, and the first without it.
    expect(scene.limits.stats()).toMatchObject({ delivered: 4, dropped: 2, fallbacks: 0, handlerFailures: 0 })
    const { userProperties } = scene.handled[0]!.packet.properties!
    expect(Object.getPrototypeOf(userProperties)).toBeNull()
    expect(userProperties!.tier).toEqual(['silver', 'gold'])
  })

  it('takes an empty payload, one of 1 MB, bad UTF-8 and JSON that means harm', async () => {
    const rules = [limit({ name: 'r', rate: NEVER, cost: { payload: 'cost' }, burst: 10, exceeded: 'drop' })]
    await using scene = await openScene({ rules })
    const payloads = [
      Buffer.alloc(0),
      Buffer.alloc(1_048_576, 'x'),
      Buffer.from([0xff, 0xfe, 0xc0]),
      Buffer.from('{"__proto__":{"cost":1e9},"cost":-5}'),
      Buffer.from(`${'['.repeat(50_000)}`),
      Buffer.from('{"cost":1e999}'),
    ]
    for (const payload of payloads) await scene.sender.publish('in/a', payload, { qos: 1 })
    await until(() => scene.limits.stats().received === payloads.length)
    expect(scene.limits.stats()).toMatchObject({ fallbacks: 0, handlerFailures: 0 })
    expect(scene.handled.slice(0, 2).map(({ text }) => text.length)).toEqual([0, 1_048_576])
    expect(scene.consumer.client.connected).toBe(true)
  })

  it('tells senders apart as the application does, and survives when it throws', async () => {
    const rules = [limit({ name: 'r', rate: NEVER, per: 'device', exceeded: 'drop' })]
    await using scene = await openScene({
      rules,
      identify: topic => {
        if (topic === 'in/throws') throw new Error('no')
        return { device: topic.split('/')[1]! }
      },
    })
    for (const topic of ['in/a', 'in/a', 'in/b', 'in/throws', 'in/throws']) await scene.publish(1, { topic })
    await until(() => scene.limits.stats().received === 5)
    expect(scene.handled.map(({ topic }) => topic)).toEqual(['in/a', 'in/b', 'in/throws'])
    expect(scene.limits.stats().senders).toBe(3)
  })
})

describe('the limits passed to the handler', () => {
  it('has the decision and the rate-limit fields', async () => {
    const rules = [limit({ name: 'r', rate: '10/min burst 5', exceeded: 'drop' })]
    await using scene = await openScene({ rules })
    await scene.publish(2)
    await until(() => scene.handled.length === 2)
    const { decision, fields } = scene.handled[1]!.limits
    expect(decision).toMatchObject({ outcome: 'deliver', rule: 'r', limit: 5, remaining: 3 })
    expect(fields['ratelimit-policy']).toBe('"r";q=5;w=30')
    expect(fields.ratelimit).toMatch(/^"r";r=3;t=\d+$/)
  })

  it('is the cheaper form where a rule degrades', async () => {
    const exceeded = { degrade: { keep: ['value'], mark: 'x-degraded', sample: 2 } } as const
    await using scene = await openScene({ rules: [limit({ name: 'r', rate: NEVER, exceeded })], version: 5 })
    await scene.publish(5, { text: index => JSON.stringify({ value: index, more: 'x'.repeat(100) }) })
    await until(() => scene.limits.stats().received === 5)
    expect(scene.handled.slice(1).map(({ text }) => text)).toEqual(['{"value":1}', '{"value":3}'])
    expect(scene.handled[1]!.packet).toMatchObject({ qos: 0, retain: false })
    expect(scene.handled[1]!.packet.properties?.userProperties?.['x-degraded']).toBe('r')
    expect(scene.limits.stats()).toMatchObject({ delivered: 3, degraded: 2, dropped: 2 })
  })
})
