import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Decision } from '../../../src/core/decision.ts'
import type { Message } from '../../../src/core/message.ts'
import { Gate, type GateEvents } from '../../../src/gate/gate.ts'
import { limit, MemoryStore, ResilientStore } from '../../../src/index.ts'
import type { Fallback, Store } from '../../../src/stores/store.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { until } from '../../support/wait.ts'
import { FaultyStore } from '../stores/resilient/faulty-store.ts'

let folder: string
let clock: FakeClock
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'topicgate-gate-'))
  clock = new FakeClock()
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function message(topic = 'a/b'): Message {
  return { topic, on: 'publish', sender: { client: 'c' }, size: 1 }
}

function policy(store: unknown, ...rules: object[]): object {
  return { store, rules: [{ name: 'few', per: 'client', limit: '2/h' }, ...rules] }
}

async function remaining(gate: Gate): Promise<(number | undefined)[]> {
  return (await gate.peek(message())).map(decision => decision.remaining)
}

describe('the store of a policy', () => {
  it.each(['memory', 'sqlite'])('opens a %s store whatever other options the gate is given', async kind => {
    const store = kind === 'memory' ? 'memory' : `sqlite:${folder}/env.db`
    const gate = await Gate.fromPolicy(policy(store), { env: {}, clock, watch: false })
    expect((await gate.store.health()).ok).toBe(true)
    await gate.close()
  })

  it('is opened and closed by the gate, and keeps its counts for the next one', async () => {
    const store = `sqlite:${folder}/limits.db`
    const first = await Gate.fromPolicy(policy(store), { clock })
    expect(first.store.name).toBe('sqlite')
    expect((await first.check(message())).remaining).toBe(1)
    await first.close()
    expect(() => first.store.decide([], { commit: true })).toThrow('closed')
    const second = await Gate.fromPolicy(policy(store), { clock })
    expect(await remaining(second)).toEqual([0])
    await second.close()
  })

  it('is not opened if the gate was given another store, which stays open', async () => {
    const store = new MemoryStore({ clock })
    const gate = await Gate.fromPolicy(policy(`sqlite:${folder}/unused.db`), { clock, store })
    expect(gate.store).toBe(store)
    await gate.apply(policy('memory'))
    await gate.check(message())
    await gate.close()
    expect(store.health()).toMatchObject({ ok: true, keys: 1 })
  })

  it('cannot be changed while the gate runs: the error has its position, and the old policy stays', async () => {
    const file = join(folder, 'policy.yaml')
    writeFileSync(file, 'store: memory\nrules:\n  - { name: few, per: client, limit: 2/h }\n')
    const gate = await Gate.fromPolicy(file, { clock })
    gate.check(message())
    writeFileSync(file, 'rules:\n  - { name: many, limit: 9/h }\nstore: { url: "redis://:secret@host" }\n')
    const refused = gate.apply(file)
    await expect(refused).rejects.toThrow(
      `${file}:3:10: store: the store of a running gate cannot be changed`,
    )
    await expect(refused).rejects.not.toThrow('secret')
    expect(await remaining(gate)).toEqual([0])
    await gate.apply(policy(undefined, { name: 'more', limit: '9/h' }))
    expect(gate.rules()).toEqual(['few', 'more'])
    await gate.close()
  })

  it('refuses unsupported rules when the policy loads, each with its position', async () => {
    const store: Store = Object.assign(new MemoryStore({ clock }), {
      name: 'small',
      algorithms: new Set(['token-bucket', 'sliding-log']),
      refuses: ({ count }: { readonly count: number }) =>
        count > 5 ? 'the small store counts to 5' : undefined,
    })
    const file = join(folder, 'policy.yaml')
    writeFileSync(
      file,
      [
        'exempt:',
        '  - { name: some, topics: ["x/#"], limit: 9/min }',
        'rules:',
        '  - { name: a, limit: 2/h }',
        '  - { name: b, limit: 7/h }',
        '  - { name: c, limit: 2/h, algorithm: leaky-bucket }',
      ].join('\n'),
    )
    const error = await Gate.fromPolicy(file, { clock, store }).catch((cause: unknown) => cause)
    expect(String(error).split('\n')).toEqual([
      `PolicyError: ${file}:2:43: exempt[0].limit: the small store counts to 5 (use another algorithm, or another store)`,
      `${file}:5:7: rules[1]: the small store counts to 5 (use another algorithm, or another store)`,
      `${file}:6:7: rules[2]: the small store does not run leaky-bucket (use another algorithm, or another store)`,
    ])
    const gate = new Gate({ clock, store })
    expect(() => gate.use(limit({ name: 'd', rate: '6/s' }))).toThrow('the small store counts to 5')
    expect(gate.rules()).toEqual([])
  })
})

describe('a gate with an unreachable store', () => {
  async function openGate(fallback: Fallback, ...rules: object[]): Promise<[Gate, FaultyStore]> {
    const inner = new FaultyStore(clock)
    inner.way = 'reject'
    const store = new ResilientStore({ store: inner, clock, fallback })
    return [await Gate.fromPolicy(policy('memory', ...rules), { clock, store }), inner]
  }

  async function decide(gate: Gate, times: number): Promise<Decision[]> {
    const decisions: Decision[] = []
    for (let time = 0; time < times; time++) decisions.push(await gate.check(message()))
    return decisions
  }

  it('names the rule if it counts locally, and reports that the store did not answer', async () => {
    const [gate] = await openGate('memory')
    expect(await decide(gate, 3)).toMatchObject([
      { allowed: true, reason: 'ok', rule: 'few', remaining: 1, fallback: true },
      { allowed: true, reason: 'ok', rule: 'few', remaining: 0, fallback: true },
      { allowed: false, reason: 'rate_limit_exceeded', rule: 'few', outcome: 'reject', fallback: true },
    ])
  })

  it.each(['allow', 'deny'] as const)('names no rule if nothing is counted: %s', async fallback => {
    const [gate] = await openGate(fallback)
    const allowed = fallback === 'allow'
    const decision = {
      allowed,
      outcome: allowed ? 'deliver' : 'reject',
      reason: 'store_unavailable',
      retryAfterMs: allowed ? 0 : 1_000,
      fallback: true,
    }
    expect(await decide(gate, 7)).toEqual(Array.from({ length: 7 }, () => decision))
    expect(await gate.peek(message())).toEqual([decision])
  })

  it('lets each rule have its own fallback', async () => {
    const [gate] = await openGate('deny', { name: 'half', limit: '4/h', fallback: 'degraded' })
    await gate.apply({
      rules: [
        { name: 'few', per: 'client', limit: '9/h', fallback: 'memory' },
        { name: 'half', limit: '4/h', fallback: 'degraded', exceeded: 'drop' },
        { name: 'open', limit: '1/h', fallback: 'allow' },
      ],
    })
    expect(await decide(gate, 3)).toMatchObject([
      { allowed: true, rule: 'half', remaining: 1, fallback: true },
      { allowed: true, rule: 'half', remaining: 0, fallback: true },
      { allowed: false, rule: 'half', outcome: 'drop', reason: 'rate_limit_exceeded', fallback: true },
    ])
    expect((await gate.explain(message())).limits.map(({ fallback }) => fallback)).toEqual([
      'local',
      'local',
      'none',
    ])
  })

  it('marks counts of shadow rules, and does not treat them as an outage of a rule', async () => {
    const [gate] = await openGate('memory')
    await gate.apply({ rules: [{ name: 'trial', limit: '1/h', shadow: true }] })
    expect(await decide(gate, 2)).toEqual([
      { allowed: true, outcome: 'deliver', reason: 'ok', retryAfterMs: 0, fallback: true },
      { allowed: true, outcome: 'deliver', reason: 'ok', retryAfterMs: 0, fallback: true, shadow: ['trial'] },
    ])
  })

  it('reports each change of state once', async () => {
    const [gate, inner] = await openGate('memory')
    const told: GateEvents['store'][0][] = []
    gate.on('store', state => told.push(state))
    await decide(gate, 10)
    inner.way = 'soon'
    await clock.advanceAsync(60_000)
    await decide(gate, 10)
    expect(told).toEqual([
      { kind: 'state', store: 'faulty', state: 'open', ok: false, detail: 'rejected' },
      { kind: 'state', store: 'faulty', state: 'half-open', ok: false },
      { kind: 'state', store: 'faulty', state: 'closed', ok: true },
    ])
  })
})

describe('a gate that watches its policy', () => {
  it('applies a changed file, and reports an invalid one', async () => {
    const file = join(folder, 'policy.yaml')
    writeFileSync(file, 'rules:\n  - { name: a, limit: 2/h }\n')
    const gate = await Gate.fromPolicy(file, { watch: true })
    const told: string[] = []
    gate.on('policy', change => told.push(change.kind))
    writeFileSync(file, 'rules:\n  - { name: b, limit: 2/h }\n')
    await until(() => gate.rules()[0] === 'b')
    writeFileSync(file, 'rules: 7\n')
    await until(() => told.length === 2)
    expect(told).toEqual(['applied', 'refused'])
    expect(gate.rules()).toEqual(['b'])
    await gate.close()
  })

  it('needs a file to watch', async () => {
    await expect(Gate.fromPolicy({ rules: [] }, { watch: true })).rejects.toThrow(
      'not a file, so it cannot be watched',
    )
  })
})

describe('a daily quota', () => {
  it.each([
    ['begins a day of 23 hours', '2026-03-29T00:00:00+01:00', 23],
    ['begins a day of 25 hours', '2026-10-25T00:00:00+02:00', 25],
    ['begins any other day', '2026-06-01T00:00:00+02:00', 24],
  ])('%s at local midnight and resets at the next', async (_title, midnight, hours) => {
    const startMs = Date.parse(midnight)
    const store = `sqlite:${folder}/quota.db`
    const rules = [{ name: 'daily', quota: '2/day', zone: 'Europe/Berlin' }]
    clock.set(startMs - 1)
    let gate = await Gate.fromPolicy({ store, rules }, { clock })
    expect(await gate.check(message())).toMatchObject({ allowed: true, remaining: 1, resetMs: 1 })
    clock.set(startMs)
    expect(await gate.check(message())).toMatchObject({
      allowed: true,
      remaining: 1,
      resetMs: hours * 3_600_000,
    })
    await gate.close()
    gate = await Gate.fromPolicy({ store, rules }, { clock })
    clock.set(startMs + hours * 3_600_000 - 1)
    expect(await gate.check(message())).toMatchObject({ allowed: true, remaining: 0 })
    expect(await gate.check(message())).toMatchObject({
      allowed: false,
      reason: 'quota_exceeded',
      retryAfterMs: 1,
    })
    clock.set(startMs + hours * 3_600_000)
    expect(await gate.check(message())).toMatchObject({ allowed: true, remaining: 1 })
    await gate.close()
  })
})
