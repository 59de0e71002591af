import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { Gate } from '../../../src/index.ts'
import { SHARED_BACKENDS, type SharedBackend } from '../../support/shared-stores.ts'
import { until } from '../../support/wait.ts'
import { type AdminScene, type Answer, openAdminScene } from './admin-scene.ts'

const BASE = '/api/v1'
const RULE = { name: 'per-client', per: 'client', limit: '2/h' }

interface Changed {
  readonly persisted: boolean
  readonly nodes: { readonly confirmed: readonly string[]; readonly pending: readonly string[] }
}

describe.each(Object.keys(SHARED_BACKENDS))('an entry for the nodes of %s', name => {
  let backend: SharedBackend
  const scenes: AdminScene[] = []
  beforeAll(async () => {
    backend = await SHARED_BACKENDS[name]!(systemClock, ['node'])
  })
  afterEach(async () => {
    for (const scene of scenes.splice(0)) await scene.close()
  })
  afterAll(() => backend.end())

  /** Starts a node, and waits until the others know it. */
  async function startNode(node: string): Promise<AdminScene> {
    const store = await backend.open()
    const scene = await openAdminScene({
      policy: { version: 1, rules: [RULE] },
      gate: { clock: systemClock, store },
      server: { node },
    })
    const close = async (): Promise<void> => {
      await scene.close()
      await store.close()
    }
    scenes.push({ ...scene, close })
    await until(async () => (await nodesOf(scene)).length === scenes.length, { what: `the node ${node}` })
    return scene
  }

  async function nodesOf(scene: AdminScene): Promise<readonly string[]> {
    const { body } = await scene.call('GET', `${BASE}/status`)
    return (body as { readonly nodes: readonly string[] }).nodes
  }

  function put(scene: AdminScene, path: string, body: object): Promise<Answer> {
    return scene.call('PUT', `${BASE}/${path}`, { body: { reason: 'test', ...body } })
  }

  it('is confirmed by each node that has applied it, when the change is answered', async () => {
    const [a, b] = [await startNode('a'), await startNode('b')]
    for (let count = 0; count < 5; count++) {
      const id = `client:d${count}`
      const { nodes, persisted } = (await put(a, `bans/${id}`, {})).body as Changed
      expect([persisted, nodes.confirmed, nodes.pending]).toEqual([true, ['a', 'b'], []])
      // No wait: the answer says that it is in effect there.
      expect(b.gate.bans.get(id)?.addedBy).toBe('admin')
      expect(b.gate.banOf({ client: `d${count}` })?.outcome).toBe('reject')
    }
    const back = (await put(b, 'overrides/client:d9', { limit: 'x2' })).body as Changed
    expect(back.nodes.confirmed).toEqual(['b', 'a'])
    expect(a.gate.overrides.get('client:d9')?.limit).toBe('x2')
  })

  it('is pending on a node that cannot apply it, and on one that does not answer', async () => {
    const [a] = [await startNode('a'), await startNode('b')]
    // As written by another version.
    const { sharedEntries } = a.gate.store
    await sharedEntries!.put({
      kind: 'override',
      id: 'client:d1',
      json: '{"id":"client:d1","limit":"often"}',
    })
    const own = await backend.open()
    const gate = new Gate({ store: own })
    const membership = gate.joinNodes('c')!
    const confirmation = await membership.confirm('override', 'client:d1')
    expect([confirmation.confirmed, confirmation.pending.toSorted()]).toEqual([['c'], ['a', 'b']])
    membership.close()
    await gate.close()
    await own.close()
    await sharedEntries!.remove('override', 'client:d1')

    const json = JSON.stringify({ node: 'gone', version: '0', refused: [] })
    const gone = sharedEntries!.ephemeral('node')
    await gone.put({ kind: 'node', id: 'gone', json, expiresAtMs: Date.now() + 600_000 })
    const { nodes } = (await put(a, 'bans/client:d2', {})).body as Changed
    expect(nodes).toEqual({ confirmed: ['a', 'b'], pending: ['gone'] })
    await gone.remove('node', 'gone')
    // One that takes the place of another is asked in its place, and one that is gone is not.
    const shared = await backend.open()
    const gates = [new Gate({ store: shared }), new Gate({ store: shared })]
    const ended = gates[0]!.joinNodes('worker', 'worker-1')!
    await until(async () => (await nodesOf(a)).length === 3)
    const successor = gates[1]!.joinNodes('worker', 'worker-1')!
    const { nodes: replaced } = (await put(a, 'bans/client:d4', {})).body as Changed
    expect([...replaced.confirmed, ...replaced.pending].toSorted()).toEqual(['a', 'b', 'worker'])
    for (const each of [ended, successor]) each.close()
    for (const each of gates) await each.close()
    await a.gate.removeNode('worker-1')
    expect(await nodesOf(a)).toEqual(['a', 'b'])
    await shared.close()
    // A node that ends is no longer asked.
    const last = scenes.pop()!
    await last.close()
    await until(async () => (await nodesOf(a)).length === 1)
    expect(((await put(a, 'bans/client:d3', {})).body as Changed).nodes.confirmed).toEqual(['a'])
  })
})
