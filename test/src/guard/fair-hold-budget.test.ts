import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import type { LimitOptions } from '../../../src/chain/rules/rule-options.ts'
import type { Decision } from '../../../src/core/decision.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import type { Message } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { Guard, type GuardOptions, type SenderQueue } from '../../../src/guard/guard.ts'
import { HeldAmount, LargestHolders } from '../../../src/guard/largest-holders.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { random } from '../../support/random.ts'

function setScene(exceeded: LimitOptions['exceeded'], options: GuardOptions = {}) {
  const clock = new FakeClock()
  const gate = new Gate({ clock })
  gate.use(limit({ name: 'r', rate: '1 per 100s burst 1', per: 'client', exceeded }))
  const guard = new Guard(gate, { holds: 'all', ...options })
  const senderQueues = new Map<string, SenderQueue>()
  const senders = new Map<string, { readonly client: string; readonly ip: string }>()
  const refused: string[] = []
  const send = (client: string, more: Partial<Message> = {}, ip = '10.0.0.1'): void => {
    const senderQueue = senderQueues.get(client) ?? guard.senderQueue()
    senderQueues.set(client, senderQueue)
    const sender = senders.get(client) ?? { client, ip }
    senders.set(client, sender)
    const enact = ({ allowed }: Decision): void => void (allowed || refused.push(client))
    senderQueue.admit({ topic: 't', on: 'publish', sender, size: 10, ...more }, enact)
  }
  const heldBy = (client: string): number => senderQueues.get(client)?.pending ?? 0
  return { clock, gate, guard, send, refused, heldBy }
}

describe('a full hold budget', () => {
  it.each(['throttle', 'queue', { queue: { order: 'arrival' } }] as const)(
    'makes the client that holds most give way: %j',
    exceeded => {
      const { guard, send, refused, heldBy } = setScene(exceeded, { maxHeldTotal: 100 })
      for (let index = 0; index < 200; index++) send('flooder')
      for (let index = 0; index < 21; index++) send('quiet')
      expect(heldBy('quiet')).toBe(20)
      expect(refused.filter(client => client === 'quiet')).toEqual([])
      expect(guard.stats().held).toBe(100)
      for (let index = 0; index < 200; index++) send('quiet')
      expect(Math.abs(heldBy('quiet') - heldBy('flooder'))).toBeLessThanOrEqual(1)
    },
  )

  it('counts bytes in the same way as messages', () => {
    const { guard, send, heldBy, refused } = setScene('throttle', { maxHeldBytesTotal: 10_000 })
    for (let index = 0; index < 12; index++) send('large', { size: 1_000 })
    for (let index = 0; index < 41; index++) send('small', { size: 50 })
    expect(heldBy('small')).toBe(40)
    expect(refused.every(client => client === 'large')).toBe(true)
    expect(guard.stats().heldBytes).toBeLessThanOrEqual(10_000)
  })

  it('makes the address that holds most give way if all clients hold as little', () => {
    const { send, heldBy, refused, guard } = setScene('throttle', { maxHeldTotal: 200 })
    for (let index = 0; index < 300; index++) {
      send(`swarm-${index}`, {}, '10.6.6.6')
      send(`swarm-${index}`, {}, '10.6.6.6')
    }
    for (let index = 0; index < 31; index++) send('honest', {}, '10.0.0.2')
    expect(heldBy('honest')).toBe(30)
    expect(refused.includes('honest')).toBe(false)
    expect(guard.stats().held).toBe(200)
  })

  it('still holds a few QoS 1 messages of each client', () => {
    const { send, heldBy, refused } = setScene('throttle', { maxHeldTotal: 10 })
    for (let index = 0; index < 10; index++) {
      send(`c${index}`)
      send(`c${index}`)
    }
    for (let index = 0; index < 50; index++) send('c0', { qos: 1 })
    expect(heldBy('c0')).toBe(MAX_SIZES.heldWhenFull)
    const large = MAX_SIZES.heldBytesWhenFull
    send('c1', { qos: 1, size: large })
    expect(heldBy('c1')).toBe(1)
    expect(refused.at(-1)).toBe('c1')
  })

  it('drops QoS 0 messages of an earlier connection for QoS 1 messages of the next one', () => {
    const clock = new FakeClock()
    const gate = new Gate({ clock })
    gate.use(limit({ name: 'r', rate: '1 per 100s burst 1', exceeded: 'throttle' }))
    const senderQueue = new Guard(gate, { maxHeldPerSender: 10 }).senderQueue({})
    const sender = { client: 'c' }
    const refused: number[] = []
    const send = (qos: 0 | 1): void =>
      senderQueue.admit({ topic: 't', on: 'publish', sender, size: 1, qos }, ({ allowed }) => {
        if (!allowed) refused.push(qos)
      })
    for (let index = 0; index < 11; index++) send(0)
    senderQueue.detach(() => true)
    senderQueue.attach({})
    send(1)
    send(0)
    expect(senderQueue.held).toBe(10)
    expect(refused).toEqual([0, 0])
  })
})

describe('a full rule queue', () => {
  it.each([
    ['queue', 't'],
    ['latest', 'topics'],
  ] as const)('the client that has most there gives way: %s', (word, _) => {
    const exceeded =
      word === 'queue'
        ? ({ queue: { max: 50, order: 'arrival' } } as const)
        : ({ latest: { topics: 50 } } as const)
    const { send, heldBy, refused } = setScene(exceeded)
    for (let index = 0; index < 100; index++) send('flooder', { topic: `f/${index}` })
    for (let index = 0; index < 11; index++) send('quiet', { topic: `q/${index}` })
    expect(heldBy('quiet')).toBe(10)
    expect(heldBy('flooder')).toBe(40)
    expect(refused.includes('quiet')).toBe(false)
  })
})

describe('any history', () => {
  it('counts what each sender holds, and enacts every message once', () => {
    const chance = random(20_263)
    for (const exceeded of ['throttle', 'queue', 'latest', { queue: { order: 'arrival' } }] as const) {
      const clock = new FakeClock()
      const gate = new Gate({ clock })
      gate.use(limit({ name: 'r', rate: '20/s burst 1', per: 'client', exceeded }))
      const guard = new Guard(gate, { holds: 'all', maxHeldTotal: 30, maxHeldBytesTotal: 2_000 })
      const senderQueues = Array.from({ length: 8 }, () => guard.senderQueue())
      const senders = senderQueues.map((_, index) => ({ client: `c${index}`, ip: `10.0.0.${index % 3}` }))
      let enacted = 0
      for (let sent = 0; sent < 3_000; sent++) {
        const index = chance.int(0, 7)
        const message: Message = {
          topic: `t/${chance.int(0, 5)}`,
          on: 'publish',
          sender: senders[index]!,
          size: chance.int(1, 150),
          qos: chance.chance(0.2) ? 1 : 0,
        }
        senderQueues[index]!.admit(message, () => enacted++)
        if (chance.chance(0.3)) clock.advance(chance.int(1, 40))
        const accounts = senderQueues.map(({ account }) => account)
        expect(accounts.reduce((sum, { messages }) => sum + messages, 0)).toBe(guard.stats().held)
        expect(accounts.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(guard.stats().heldBytes)
      }
      clock.advance(100_000)
      expect(enacted).toBe(3_000)
      expect(guard.stats()).toMatchObject({ held: 0, heldBytes: 0 })
      expect(
        senderQueues.every(({ account }) => account.address === undefined && account.messagesRank === 0),
      ).toBe(true)
    }
  })

  it('finds a holder of at least half of the largest amount', () => {
    const chance = random(3)
    const holders = new LargestHolders('messages')
    const accounts = Array.from({ length: 200 }, () => new HeldAmount())
    for (let step = 0; step < 5_000; step++) {
      const account = accounts[chance.int(0, 199)]!
      account.messages = chance.chance(0.3) ? 0 : chance.int(0, 1_000)
      holders.update(account)
      const most = Math.max(...accounts.map(({ messages }) => messages))
      expect(2 * (holders.largest()?.messages ?? 0)).toBeGreaterThanOrEqual(most)
    }
  })
})
