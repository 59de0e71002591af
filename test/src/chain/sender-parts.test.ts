import { describe, expect, it } from 'vitest'
import { exempt, type Message } from '../../../src/index.ts'
import { gateOn, STORE_NAMES, useStores } from './each-store.ts'

useStores()

function from(sender: Message['sender'], more: Partial<Message> = {}): Message {
  return { topic: 't', on: 'publish', sender, size: 1, ...more }
}

describe.each(STORE_NAMES)('parts of a sender on the store %s', name => {
  it.each([
    ['from the sender', undefined],
    ['from a header', '{header.tier}'],
  ])('ignore the tier %s if it is not defined', async (_case, source) => {
    const { gate } = await gateOn(name, {
      tiers: { free: { limit: '100/s' }, ...(source === undefined ? {} : { assign: { from: source } }) },
      rules: [{ name: 'r', per: 'tier', limit: '2/h' }],
    })
    const message = (tier?: string): Message =>
      source === undefined
        ? from({ client: 'c', ...(tier === undefined ? {} : { tier }) })
        : from({ client: 'c' }, tier === undefined ? {} : { headers: { tier } })
    expect(gate.keyOf('r', message('x1'))).toBe('')
    const answers = []
    for (const tier of ['x1', 'x2', undefined, 'x3', 'free'])
      answers.push((await gate.check(message(tier))).allowed)
    expect(answers).toEqual([true, true, false, false, true])
  })

  it('use the default tier if there is one', async () => {
    const { gate } = await gateOn(name, {
      tiers: { free: { limit: '100/s' }, assign: { default: 'free' } },
      rules: [{ name: 'r', per: 'tier', limit: '2/h' }],
    })
    for (const tier of ['x1', undefined, 'free'])
      expect(gate.keyOf('r', from({ client: 'c', tier }))).toBe('free')
  })

  it('accept any tier if no tiers are defined', async () => {
    const { gate } = await gateOn(name, { rules: [{ name: 'r', per: 'tier', limit: '1/h' }] })
    for (const tier of ['a', 'b']) expect(await gate.check(from({ tier }))).toMatchObject({ allowed: true })
  })

  it('count as absent if empty', async () => {
    const { gate } = await gateOn(name, {
      tiers: { free: { limit: '1/h burst 1' }, assign: { default: 'free' } },
      rules: [{ name: 'r', topic: 'fleet/{device}', per: 'device', limit: '1/h' }],
      exempt: [{ name: 'e', clients: ['ops'] }],
    })
    expect(gate.keyOf('r', from({ device: '' }, { topic: 'fleet/d1' }))).toBe('d1')
    // The limit of the tier counts by client: an empty user or API key is none.
    const answers = []
    for (const client of ['a', 'b', 'a', 'ops']) {
      const { reason, rule } = await gate.check(from({ client, user: '', apiKey: '' }))
      answers.push(`${reason}/${rule}`)
    }
    expect(answers).toEqual([
      'ok/tier:free',
      'ok/tier:free',
      'rate_limit_exceeded/tier:free',
      'exempt/undefined',
    ])
    expect(await gate.check(from({ client: '', user: '' }))).toMatchObject({ reason: 'ok' })
  })

  it('match no exemption in code if empty', async () => {
    const { gate } = await gateOn(name)
    gate.use(exempt({ name: 'e', devices: [''], apiKeys: [''] }))
    expect(await gate.check(from({ device: '', apiKey: '' }))).toMatchObject({ reason: 'ok' })
  })

  it('count numeric text as a cost, in a payload and in a header', async () => {
    const { gate } = await gateOn(name, {
      rules: [
        { name: 'p', topic: 'p', limit: '100/h', cost: { payload: 'units' } },
        { name: 'h', topic: 'h', limit: '100/h', cost: { header: 'units' } },
      ],
    })
    let [p, h] = [100, 100]
    for (const [units, cost] of [
      ['3', 3],
      ['2.5', 2.5],
      ['-3', 1],
      ['three', 1],
      ['', 1],
      ['0', 1],
    ] as const) {
      p -= cost
      h -= cost
      expect(await gate.check(from({}, { topic: 'p', payload: () => ({ units }) }))).toMatchObject({
        remaining: Math.floor(p),
      })
      expect(await gate.check(from({}, { topic: 'h', headers: { units } }))).toMatchObject({
        remaining: Math.floor(h),
      })
    }
  })
})
