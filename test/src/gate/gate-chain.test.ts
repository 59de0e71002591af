import { describe, expect, it } from 'vitest'
import { Gate, limit, MemoryStore, type Message, PolicyError } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const message = (topic: string, client = 'c'): Message => ({
  topic,
  on: 'publish',
  sender: { client },
  size: 1,
})

/** So many rules, on a topic each. One message a day passes on each topic. */
const rulesOf = (count: number): readonly object[] =>
  Array.from({ length: count }, (_, index) => ({ name: `r${index}`, topic: `a/${index}`, limit: '1/day' }))

const policyOf = (count: number): object => ({ rules: rulesOf(count) })

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** Counts turns of the event loop until a promise is settled. */
async function countTurns(work: Promise<unknown>): Promise<number> {
  let isDone = false
  const done = (): void => {
    isDone = true
  }
  work.then(done, done)
  let count = 0
  for (; !isDone; count++) await turn()
  return count
}

describe('a policy of many rules', () => {
  it('is put in force in many turns of the event loop, while the old one decides', async () => {
    const gate = await Gate.fromPolicy(policyOf(1), { clock: new FakeClock(1_000) })
    const applied = gate.apply(policyOf(1_500))
    const counted = countTurns(applied)
    await turn()
    expect(gate.rules()).toEqual(['r0'])
    expect(gate.checkSync(message('a/1499')).rule).toBeUndefined()
    expect(await counted).toBeGreaterThan(5)
    expect(gate.rules()).toHaveLength(1_500)
    expect(gate.checkSync(message('a/1499')).rule).toBe('r1499')
    await gate.close()
  })

  it('with an error leaves the old one in force and says where it is', async () => {
    const gate = await Gate.fromPolicy(policyOf(1), { clock: new FakeClock(1_000) })
    const lines = Array.from({ length: 1_500 }, (_, index) => `  - name: n${index}\n    limit: 10/s\n`)
    lines[1_000] = '  - name: n1000\n    limit: 10/sec burst\n'
    const refused = gate.apply(`rules:\n${lines.join('')}`).catch((error: unknown) => error)
    expect(await countTurns(refused)).toBeGreaterThan(3)
    const error = await refused
    expect(error).toBeInstanceOf(PolicyError)
    expect((error as PolicyError).problems).toMatchObject([
      { line: 2_003, column: 12, path: 'rules[1000].limit', remedy: expect.stringContaining('10/s') },
    ])
    expect(gate.rules()).toEqual(['r0'])
    await gate.close()
  })

  it('has the middleware and exemptions that are added while it is prepared', async () => {
    const gate = await Gate.fromPolicy(policyOf(1), { clock: new FakeClock(1_000) })
    const applied = gate.apply(policyOf(1_500))
    await turn()
    gate.use(limit({ name: 'mine', limit: '1/day' }))
    await gate.exemptions.add({ name: 'free', clients: ['f'], reason: 'test' })
    await applied
    expect(gate.rules()).toHaveLength(1_501)
    expect(gate.checkSync(message('a/7', 'f'))).toMatchObject({ reason: 'exempt', exemption: 'free' })
    expect(gate.checkSync(message('b'))).toMatchObject({ allowed: true, rule: 'mine' })
    expect(gate.checkSync(message('b'))).toMatchObject({ allowed: false, rule: 'mine' })
    await gate.close()
  })

  it('is replaced by the one that was applied after it, whichever takes longer', async () => {
    const gate = await Gate.fromPolicy(policyOf(1), { clock: new FakeClock(1_000) })
    const sizes: number[] = []
    gate.on('policy', change => {
      if (change.kind === 'applied') sizes.push(change.rules.length)
    })
    await Promise.all([gate.apply(policyOf(2_000)), gate.apply(policyOf(2)), gate.apply(policyOf(1_000))])
    expect(sizes).toEqual([2_000, 2, 1_000])
    expect(gate.rules()).toHaveLength(1_000)
    await gate.close()
  })

  it('keeps the counts of rules that stay, and forgets those of the others', async () => {
    const clock = new FakeClock(1_000)
    const store = new MemoryStore({ clock })
    const gate = await Gate.fromPolicy(policyOf(2_000), { clock, store })
    for (const index of [0, 1, 1_999]) gate.checkSync(message(`a/${index}`))
    expect(store.health().keys).toBe(3)
    await gate.apply(policyOf(1_000))
    expect(store.health().keys).toBe(2)
    expect(gate.checkSync(message('a/1')).allowed).toBe(false)
    expect(gate.checkSync(message('a/1999')).allowed).toBe(true)
    await gate.close()
  })

  it('counts with changed numbers from the moment it is in force', async () => {
    const clock = new FakeClock(1_000_000)
    const gate = await Gate.fromPolicy({ rules: [{ name: 'r1', limit: '10/s' }] }, { clock })
    for (let sent = 0; sent < 10; sent++) expect(gate.checkSync(message('x')).allowed).toBe(true)
    await gate.apply({ rules: [...rulesOf(2_000).slice(2), { name: 'r1', limit: '10/day' }] })
    // Ten seconds at the old rate would refill it.
    clock.advance(10_000)
    expect(gate.checkSync(message('x'))).toMatchObject({ allowed: false, rule: 'r1' })
    await gate.close()
  })
})
