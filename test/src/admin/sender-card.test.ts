import { afterEach, describe, expect, it } from 'vitest'
import { senderCardSchema } from '../../../src/admin/schemas/senders.ts'
import { renderCard } from '../../../src/cli/admin/render-card.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { createSender, MemoryStore, type Store } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { type AdminScene, openAdminScene } from './admin-scene.ts'

let scene: AdminScene
afterEach(() => scene?.close())

async function readCard(id: string): Promise<ReturnType<typeof senderCardSchema.parse>> {
  return senderCardSchema.parse((await scene.call('GET', `/api/v1/senders/${encodeURIComponent(id)}`)).body)
}

describe('the card of a sender', () => {
  it('asks the store as much with twenty thousand keys as with one, and charges nothing', async () => {
    const clock = new FakeClock()
    const store = new MemoryStore({ clock })
    let charges = 0
    let commits = 0
    const counting: Store = {
      name: 'memory',
      algorithms: store.algorithms,
      forget: selector => store.forget(selector),
      refund: list => store.refund(list),
      health: () => store.health(),
      close: () => store.close(),
      decide(list, options) {
        charges += list.length
        if (options.commit) commits++
        return store.decide(list, options)
      },
    }
    scene = await openAdminScene({ gate: { clock, store: counting } })
    const publish = (client: string): void => {
      scene.gate.checkSync({ topic: 'fleet/berlin/x', sender: createSender({ client }), size: 1 })
    }
    publish('d7')
    ;[charges, commits] = [0, 0]
    await readCard('client:d7')
    const before = charges
    expect([before > 0, commits]).toEqual([true, 0])
    for (let count = 0; count < 20_000; count++) publish(`c${count}`)
    ;[charges, commits] = [0, 0]
    const card = await readCard('client:d7')
    expect([charges, commits]).toEqual([before, 0])
    expect(card.limits[0]).toMatchObject({ rule: 'per-client', limit: 50, remaining: 49 })
  })

  it('is bounded in the topics that it asks about, whatever the policy', async () => {
    const most = MAX_SIZES.cardTopics
    const rules = Array.from({ length: most + 10 }, (_, index) => ({
      name: `r${index}`,
      topic: `t${index}/#`,
      per: 'client',
      limit: '10/s',
    }))
    scene = await openAdminScene({ policy: { version: 1, rules } })
    const card = await readCard('client:d7')
    expect(card.limits).toHaveLength(most)
    expect(card.notAsked.slice(0, 10)).toEqual(rules.slice(most).map(({ name }) => name))
  })

  it('writes limits in bytes with their unit', async () => {
    const rules = [{ name: 'volume', per: 'client', limit: '4MB/day', cost: 'bytes', exceeded: 'drop' }]
    scene = await openAdminScene({ policy: { version: 1, rules } })
    const sender = createSender({ client: 'd7' })
    for (let count = 0; count < 2; count++) scene.gate.checkSync({ topic: 't', sender, size: 3_000_000 })
    const card = await readCard('client:d7')
    expect(card.limits).toMatchObject([{ limit: 4_000_000, remaining: 1_000_000, unit: 'bytes' }])
    expect(card.refusals[0]?.text).toMatch(/^1 MB of 4 MB left under volume; passes again in /)
    expect(renderCard(card, scene.clock.now()).join('\n')).toMatch(/volume +client=d7 +1 MB of 4 MB/)
    const keys = await scene.call('GET', '/api/v1/rules/volume/keys')
    expect(keys.body).toMatchObject({ unit: 'bytes', keys: [{ used: 3_000_000, remaining: 1_000_000 }] })
    const body = { topic: 't', sender: { client: 'd7' }, size: 3_000_000, commit: false }
    const decision = await scene.call('POST', '/api/v1/decide', { body })
    expect(decision.body).toMatchObject({ limit: 4_000_000, unit: 'bytes' })
  })

  it('names rules whose counter depends on a topic that is not known', async () => {
    const rules = [{ name: 'per-topic', per: 'topic', limit: '10/s' }]
    scene = await openAdminScene({ policy: { version: 1, rules } })
    expect(await readCard('client:d7')).toMatchObject({
      limits: [],
      notAsked: expect.arrayContaining(['per-topic']),
    })
  })

  it('shows what covers a sender: bans of its network, overrides of its user, exemptions, its tier', async () => {
    scene = await openAdminScene({
      server: { broker: { stats: () => ({ held: 0 }), senderOf: id => (id === 'd7' ? live : undefined) } },
    })
    const live = createSender({ client: 'd7', user: 'ann', ip: '10.0.0.1' })
    const { gate } = scene
    await gate.overrides.add({ user: 'ann', limit: 'x2', reason: 'contract' })
    await gate.tiers.add({ user: 'ann', tier: 'gold', reason: 'contract' })
    await gate.exemptions.add({ name: 'lab', clients: ['d7'], reason: 'test' })
    gate.checkSync({ topic: 'fleet/berlin/d7', sender: live, size: 1 })
    const card = await readCard('client:d7')
    expect(card).toMatchObject({
      connected: true,
      identity: { user: 'ann', ip: '10.0.0.1' },
      overrides: [{ id: 'user:ann' }],
      tiers: [{ tier: 'gold' }],
      exemptions: [{ name: 'lab', exempts: true }],
    })
    await gate.bans.add({ ip: '10.0.0.0/8', reason: 'scan' })
    const banned = await readCard('client:d7')
    expect(banned.summary).toBe('Banned as ip:10.0.0.0/8: scan.')
    expect(await readCard('client:d8')).toMatchObject({ connected: false, bans: [] })
  })
})
