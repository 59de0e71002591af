import { describe, expect, it } from 'vitest'
import {
  Gate,
  type GateOptions,
  limit,
  MemoryStore,
  type Message,
  type TableFullWarning,
} from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { random } from '../../support/random.ts'

const MAX_KEYS = 1_000
const REFUSED = 100
/** One each millisecond of the fake clock, for 40 seconds. */
const NEW_CLIENTS = 40_000

function messageOf(client: string, topic: string): Message {
  return { topic, on: 'publish', sender: { client }, size: 10 }
}

/** Returns a gate with small tables, and its warnings. */
class Flooded {
  readonly clock = new FakeClock(1_000_000)
  readonly store = new MemoryStore({ clock: this.clock, maxKeysPerRule: MAX_KEYS })
  readonly gate: Gate
  readonly warnings: (TableFullWarning & { readonly atMs: number })[] = []

  constructor(rate: string) {
    const options: GateOptions = { store: this.store, clock: this.clock }
    this.gate = new Gate(options).use(
      'fleet/#',
      limit({ name: 'by-client', rate, per: 'client' }),
      limit({ name: 'by-topic', rate, per: ['client', 'topic'] }),
    )
    this.gate.on('warning', warning => {
      if (warning.kind === 'table_full') this.warnings.push({ ...warning, atMs: this.clock.now() })
    })
  }

  async allows(client: string, topic: string): Promise<boolean> {
    this.clock.advance(1)
    return (await this.gate.check(messageOf(client, topic))).allowed
  }

  /** Returns how many of the flooding clients are refused. */
  async countRefused(): Promise<number> {
    let refused = 0
    for (let index = 0; index < REFUSED; index++) {
      if (!(await this.allows(`loud-${index}`, 'fleet/loud'))) refused++
    }
    return refused
  }

  /** Sends from new clients and topics; returns how many messages passed. */
  async flood(seed: number): Promise<number> {
    const chance = random(seed)
    let passed = 0
    let mostKeys = 0
    for (let index = 0; index < NEW_CLIENTS; index++) {
      const name = `${index}-${chance.int(0, 1_000_000)}`
      if (await this.allows(name, `fleet/${chance.int(0, 9)}/${name}`)) passed++
      if (index % 1_000 === 0) mostKeys = Math.max(mostKeys, this.store.health().keys ?? 0)
    }
    expect(mostKeys, 'keys of two rules').toBe(2 * MAX_KEYS)
    return passed
  }
}

describe('a flood of unseen clients', () => {
  it('frees no key that refuses, though such keys are neighbours, and blocks no unseen client', async () => {
    const flooded = new Flooded('10 per 1h')
    while ((await flooded.countRefused()) < REFUSED);
    expect(await flooded.flood(1)).toBe(NEW_CLIENTS)
    expect(await flooded.countRefused()).toBe(REFUSED)
    const { evictions = 0, overflows } = flooded.store.health()
    expect(overflows).toBe(0)
    // Each rule has room for this many; every further client replaced another.
    expect(evictions).toBe(2 * (NEW_CLIENTS + REFUSED - MAX_KEYS))
  })

  it('that use up their limits shares a counter and leaves refused clients refused', async () => {
    const flooded = new Flooded('1 per 1h')
    while ((await flooded.countRefused()) < REFUSED);
    // As many as there is room for, and one at the shared counter of each.
    expect(await flooded.flood(2)).toBe(MAX_KEYS - REFUSED + 1)
    expect(await flooded.countRefused()).toBe(REFUSED)
    expect(flooded.store.health()).toMatchObject({ evictions: 0, keys: 2 * MAX_KEYS })
  })

  it('causes one warning per rule in ten seconds', async () => {
    const flooded = new Flooded('10 per 1h')
    await flooded.flood(3)
    for (const rule of ['by-client', 'by-topic']) {
      const told = flooded.warnings.filter(warning => warning.rule === rule)
      expect(told.length, 'in 40 seconds').toBeGreaterThanOrEqual(3)
      expect(told.length).toBeLessThanOrEqual(4)
      const gaps = told.slice(1).map(({ atMs }, index) => atMs - told[index]!.atMs)
      expect(Math.min(...gaps)).toBeGreaterThanOrEqual(10_000)
      expect(told.at(-1)).toMatchObject({ kind: 'table_full', keys: MAX_KEYS, overflows: 0 })
      expect(told.at(-1)!.evictions).toBeGreaterThan(told[0]!.evictions)
    }
  })
})
