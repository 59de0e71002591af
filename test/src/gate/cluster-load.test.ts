import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Adaptive, type AdaptiveOptions, adaptive } from '../../../src/adaptive/index.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import {
  type Decision,
  Gate,
  limit,
  MemoryStore,
  type Message,
  type Scaled,
  type Store,
} from '../../../src/index.ts'
import type { EphemeralEntries, SharedEntries } from '../../../src/stores/shared-entries.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { SHARED_BACKENDS, type SharedBackend } from '../../support/shared-stores.ts'
import { until } from '../../support/wait.ts'

const EVERY_MS = 10_000
const SENT: Message = { topic: 't', on: 'publish', sender: { client: 'c' }, size: 1 }

/** A node whose load is what the test says. */
class Node {
  load = 0.5
  readonly changes: (Scaled | undefined)[] = []
  readonly warnings: string[] = []
  readonly gate: Gate
  readonly store: Store
  readonly scale: Adaptive

  constructor(name: string, store: Store, clock: FakeClock, options: AdaptiveOptions = {}) {
    const ignore = (): void => {}
    const logger = {
      ...{ debug: ignore, info: ignore, error: ignore },
      warn: (_context: object, text = '') => void this.warnings.push(text),
    }
    this.store = store
    this.scale = adaptive({
      signal: { name: 'given', read: () => this.load },
      ...{ across: 'fleet', node: name, everyMs: EVERY_MS, ...options },
    })
    this.gate = new Gate({ clock, store, logger }).use(
      this.scale,
      limit({ name: 'all', rate: '100/hour', per: 'client' }),
    )
    this.gate.on('scaled', scaled => this.changes.push(scaled))
  }

  async check(): Promise<Decision> {
    return this.gate.check(SENT)
  }

  get scaled(): Scaled | undefined {
    return this.scale.report().scaled
  }

  get nodes(): number | undefined {
    return this.scale.report().fleet?.nodes
  }

  async close(): Promise<void> {
    await this.gate.close()
    await this.store.close()
  }
}

describe.each(Object.keys(SHARED_BACKENDS))('nodes of %s', name => {
  // Redis takes out by its own clock what has ended.
  const clock = new FakeClock(Date.now())
  const nodes: Node[] = []
  let shared: SharedBackend
  beforeAll(async () => {
    shared = await SHARED_BACKENDS[name]!(clock, ['load'])
  })
  afterEach(async () => {
    for (const node of nodes.splice(0)) await node.close()
  })
  afterAll(() => shared.end())

  async function open(node: string, options: AdaptiveOptions = {}): Promise<Node> {
    const made = new Node(node, counting(await shared.open()), clock, options)
    nodes.push(made)
    await made.check()
    return made
  }

  /** Another interval, in which every node tells and hears. */
  async function pass(intervals = 1): Promise<void> {
    for (let count = 0; count < intervals; count++) {
      const told = nodes.map(({ store }) => ({
        store,
        hasDecisionListeners: hasDecisionListeners.get(store)!,
      }))
      clock.advance(EVERY_MS)
      await until(
        () =>
          told.every(({ store, hasDecisionListeners: before }) => hasDecisionListeners.get(store)! > before),
        {
          what: 'all to have heard',
        },
      )
    }
  }

  /** How often each node has heard of the others, and which have vanished. */
  const hasDecisionListeners = new WeakMap<Store, number>()
  const vanished = new WeakSet<Store>()
  function counting(store: Store): Store {
    hasDecisionListeners.set(store, 0)
    const sharedEntries = store.sharedEntries!
    const ephemeral = sharedEntries.ephemeral.bind(sharedEntries)
    sharedEntries.ephemeral = kind => {
      const loads = ephemeral(kind)
      return {
        put: note => (vanished.has(store) ? undefined : loads.put(note)),
        remove: (...which) => (vanished.has(store) ? undefined : loads.remove(...which)),
        async list() {
          const all = await loads.list()
          setImmediate(() => hasDecisionListeners.set(store, hasDecisionListeners.get(store)! + 1))
          return all
        },
      }
    }
    return store
  }

  it('use the highest load of all, and name its node', async () => {
    const a = await open('a')
    const b = await open('b')
    await pass(2)
    expect([a.nodes, b.nodes]).toEqual([2, 2])
    expect([a.scaled, b.scaled]).toEqual([undefined, undefined])
    b.load = 0.9
    await pass(2)
    expect(a.scaled).toEqual({ factor: 0.5, reason: 'load high of node b' })
    expect(b.scaled).toEqual({ factor: 0.5, reason: 'load high' })
    expect(await a.check()).toMatchObject({ limit: 50, scaled: { reason: 'load high of node b' } })
    const { limits } = await a.gate.explain(SENT)
    expect(limits).toMatchObject([{ rule: 'all', scaled: { reason: 'load high of node b' } }])
    expect(a.changes).toEqual([{ factor: 0.5, reason: 'load high of node b' }])
    // Milder after two readings, as by its own load.
    b.load = 0.2
    a.load = 0.1
    await pass(3)
    expect([a.scaled, b.scaled]).toEqual([
      { factor: 1.5, reason: 'load low' },
      { factor: 1.5, reason: 'load low' },
    ])
    expect(a.scale.report()).toMatchObject({ changes: 2, fleet: { failures: 0 } })
  })

  it('drop a vanished one after three intervals, and one that leaves at once', async () => {
    const a = await open('a')
    const b = await open('b')
    const c = await open('c')
    c.load = 0.9
    await pass(2)
    expect([a.nodes, a.scaled?.reason]).toEqual([3, 'load high of node c'])
    await b.gate.close()
    nodes.splice(nodes.indexOf(b), 1)
    await until(async () => {
      await pass()
      return a.nodes === 2
    })
    // The process of c is gone, and what it has told stays behind.
    vanished.add(c.store)
    nodes.splice(nodes.indexOf(c), 1)
    await c.gate.close()
    await pass(2)
    expect([a.nodes, a.scaled?.reason]).toEqual([2, 'load high of node c'])
    await pass(3)
    expect([a.nodes, a.scaled]).toEqual([1, undefined])
    await b.store.close()
    await c.store.close()
  })

  it('select the stages of a signal by its highest value', async () => {
    const load = { cpu: 0.1, memory: 0.1 }
    const signals = [
      { name: 'cpu', read: () => load.cpu },
      { name: 'memory', read: () => load.memory },
    ]
    const quiet = signals.map(({ name }) => ({ name, read: () => 0.2 }))
    const a = await open('a', { signals: quiet, stages: 'default' })
    await open('b', { signals, stages: 'default' })
    load.memory = 0.85
    await pass(2)
    expect(a.scaled).toEqual({ factor: 0.7, reason: 'memory above 80% of node b' })
    load.cpu = 0.7
    await pass(2)
    expect(a.scaled).toEqual({ factor: 0.7, reason: 'memory above 80% of node b' })
    load.cpu = 0.81
    await pass(2)
    expect(a.scaled).toEqual({ factor: 0.5, reason: 'cpu above 80% of node b' })
  })

  it('do not cause bans and overrides to be read again', async () => {
    const all = [await open('a'), await open('b'), await open('c')]
    await all[0]!.gate.bans.add({ client: 'x', reason: 'test' })
    await until(async () => {
      await pass()
      return all.every(({ gate }) => gate.bans.list().length === 1)
    })
    const sharedEntries = all[0]!.store.sharedEntries!
    const version = await sharedEntries.version()
    await pass(5)
    expect(all.map(({ nodes: known }) => known)).toEqual([3, 3, 3])
    // Nobody reads them while this is the same.
    expect(await sharedEntries.version()).toBe(version)
    expect((await sharedEntries.list()).map(({ kind, id }) => `${kind} ${id}`)).toEqual(['ban client:x'])
    const loads = await sharedEntries.ephemeral('load').list()
    expect(new Set(loads.map(({ kind }) => kind))).toEqual(new Set(['load']))
    await all[0]!.gate.bans.remove('client:x', { by: 'test', reason: 'over' })
  })
})

/** Notes that fail when told to, and hold what a test puts there. */
class OwnNotes implements SharedEntries {
  readonly all = new Map<string, Parameters<SharedEntries['put']>[0]>()
  failing = false
  puts = 0
  changes = 0

  put(note: Parameters<SharedEntries['put']>[0]): void {
    this.#fail()
    this.puts++
    this.changes++
    this.all.set(note.id, note)
  }
  remove(_kind: string, id: string): void {
    this.#fail()
    this.changes++
    this.all.delete(id)
  }
  version(): string {
    this.#fail()
    return this.changes === 0 ? '' : String(this.changes)
  }
  ephemeral(): EphemeralEntries {
    return this
  }
  list(): readonly Parameters<SharedEntries['put']>[0][] {
    this.#fail()
    return [...this.all.values()]
  }
  #fail(): void {
    if (this.failing) throw new Error('out of reach')
  }
}

describe('a node', () => {
  const clock = new FakeClock()
  let node: Node
  afterEach(() => node.close())

  function withNotes(sharedEntries: SharedEntries | undefined): Store {
    const store = new MemoryStore({ clock })
    return {
      ...{ name: 'own', sharedEntries, algorithms: store.algorithms },
      decide: (charges, options) => store.decide(charges, options),
      forget: selector => store.forget(selector),
      refund: charges => store.refund(charges),
      health: () => store.health(),
      close: () => store.close(),
    }
  }

  function tell(sharedEntries: OwnNotes, name: string, json: unknown): void {
    const text = typeof json === 'string' ? json : JSON.stringify(json)
    sharedEntries.put({ kind: 'load', id: name, json: text, expiresAtMs: clock.now() + 10 * EVERY_MS })
  }

  it('uses its own load while the others are unreachable, counts that, and logs it once', async () => {
    const sharedEntries = new OwnNotes()
    node = new Node('a', withNotes(sharedEntries), clock)
    tell(sharedEntries, 'b', { node: 'b', signals: { given: 0.9 } })
    await node.check()
    await clock.advanceAsync(EVERY_MS)
    expect(node.scaled?.reason).toBe('load high of node b')
    sharedEntries.failing = true
    await clock.advanceAsync(3 * EVERY_MS)
    expect(node.scaled).toBeUndefined()
    expect(node.scale.report().fleet).toEqual({ nodes: 1, failures: 3 })
    const about = (): number => node.warnings.filter(text => /load of other nodes/.test(text)).length
    expect(about()).toBe(1)
    sharedEntries.failing = false
    tell(sharedEntries, 'b', { node: 'b', signals: { given: 0.95 } })
    await clock.advanceAsync(EVERY_MS)
    expect(node.scaled?.reason).toBe('load high of node b')
    sharedEntries.failing = true
    await clock.advanceAsync(2 * EVERY_MS)
    expect(about()).toBe(2)
  })

  it('is not blocked by a store that does not answer', async () => {
    const sharedEntries = new OwnNotes()
    node = new Node(
      'a',
      withNotes(Object.assign(sharedEntries, { list: () => new Promise<never>(() => {}) })),
      clock,
    )
    node.load = 0.9
    await node.check()
    await clock.advanceAsync(EVERY_MS + 2_000)
    expect(node.scaled).toEqual({ factor: 0.5, reason: 'load high' })
    expect(node.scale.report().fleet?.failures).toBe(1)
  })

  it('ignores an invalid load', async () => {
    const sharedEntries = new OwnNotes()
    node = new Node('a', withNotes(sharedEntries), clock)
    const broken = ['', 'null', '{', '[]', '{"node":1}', '{"node":"x","signals":7}']
    for (const [index, json] of broken.entries()) tell(sharedEntries, `broken-${index}`, json)
    tell(sharedEntries, 'odd', { node: 'odd', signals: { given: -1, other: 1, __proto__: { given: 1 } } })
    tell(sharedEntries, 'text', { node: 'text', signals: { given: '0.99' } })
    sharedEntries.put({ kind: 'ban', id: 'ban', json: '{"node":"ban","signals":{"given":1}}' })
    await node.check()
    await clock.advanceAsync(2 * EVERY_MS)
    expect(node.scale.report()).toMatchObject({ load: 0.5, changes: 0 })
  })

  it('reads a bounded number of nodes', async () => {
    const sharedEntries = new OwnNotes()
    node = new Node('a', withNotes(sharedEntries), clock)
    for (let count = 0; count < MAX_SIZES.clusterNodes + 10; count++)
      tell(sharedEntries, `n${count}`, {
        node: `n${count}`,
        signals: { given: count < MAX_SIZES.clusterNodes ? 0.5 : 1 },
      })
    await node.check()
    await clock.advanceAsync(EVERY_MS)
    expect(node.nodes).toBe(1 + MAX_SIZES.clusterNodes)
    expect(node.scale.report().load).toBe(0.5)
  })

  it('keeps its name while it is near the highest load', async () => {
    const sharedEntries = new OwnNotes()
    node = new Node('a', withNotes(sharedEntries), clock)
    await node.check()
    for (let count = 0; count < 20; count++) {
      const [b, c] = count % 2 === 0 ? [0.9, 0.85] : [0.85, 0.9]
      tell(sharedEntries, 'b', { node: 'b', signals: { given: b } })
      tell(sharedEntries, 'c', { node: 'c', signals: { given: c } })
      await clock.advanceAsync(EVERY_MS)
    }
    expect(node.changes).toEqual([{ factor: 0.5, reason: 'load high of node b' }])
    tell(sharedEntries, 'b', { node: 'b', signals: { given: 0.2 } })
    await clock.advanceAsync(EVERY_MS)
    expect(node.changes.at(-1)).toEqual({ factor: 0.5, reason: 'load high of node c' })
    expect(node.scale.report().changes).toBe(1)
  })

  it('of a memory store is the whole fleet; a store without shared entries is refused', async () => {
    node = new Node('a', new MemoryStore({ clock }), clock)
    node.load = 0.9
    await node.check()
    clock.advance(EVERY_MS)
    expect(node.scaled).toEqual({ factor: 0.5, reason: 'load high' })
    expect(node.scale.report().fleet).toEqual({ nodes: 1, failures: 0 })
    const gate = new Gate({ store: withNotes(undefined) })
    expect(() => gate.use(adaptive({ across: 'fleet' }))).toThrow(
      'across: the own store does not share the load of nodes (write across: node, or use a store that shares entries between nodes, such as Redis or SQLite)',
    )
    const policy = 'version: 1\nadaptive:\n  across: fleet\nrules:\n  - { name: r, limit: 1/s }\n'
    await expect(Gate.fromPolicy(policy, { store: withNotes(undefined) })).rejects.toThrow(
      /3:11: adaptive\.across: the own store/,
    )
    await gate.close()
  })

  it('has a readable name', () => {
    node = new Node('a', new MemoryStore({ clock }), clock)
    for (const name of ['', ' ', 'a b', 'x'.repeat(61), 'a\nb'])
      expect(() => adaptive({ across: 'fleet', node: name })).toThrow(/node: the name of the node/)
    expect(() => adaptive({ across: 'all' as 'fleet' })).toThrow(/across: "all" is not a scope of load/)
  })
})
