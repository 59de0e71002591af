import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type * as z from 'zod'
import { ADMIN_ROUTES, adminServer } from '../../../src/admin/admin-server.ts'
import { createApp } from '../../../src/admin/app.ts'
import { statusSchema, summarySchema } from '../../../src/admin/schemas/overview.ts'
import { keysSchema, ruleDetailSchema, rulesSchema } from '../../../src/admin/schemas/rules.ts'
import { senderCardSchema } from '../../../src/admin/schemas/senders.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { Analytics, createSender, Gate, MemorySnapshots, SnapshotExporter } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { type AdminScene, openAdminScene, POLICY, send } from './admin-scene.ts'

let scene: AdminScene
afterEach(() => scene?.close())

const BASE = '/api/v1'

function flood(name: string, times: number): void {
  const sender = createSender({ client: name, ip: '10.0.0.1' })
  for (let count = 0; count < times; count++)
    scene.gate.checkSync({ topic: 'fleet/berlin/d7', sender, size: 10 })
}

describe('the admin API', () => {
  it('describes the node, its summary and its rules', async () => {
    scene = await openAdminScene()
    flood('d7', 60)
    const status = statusSchema.parse((await scene.call('GET', `${BASE}/status`)).body)
    expect(status).toMatchObject({
      nodes: ['node-a'],
      node: 'node-a',
      role: 'admin',
      caller: 'admin',
      store: { name: 'memory', ok: true },
    })
    const summary = summarySchema.parse((await scene.call('GET', `${BASE}/summary`)).body)
    expect(summary).toMatchObject({ total: 60, blocked: 10, nodes: 'self' })
    expect(summary.groups).toEqual({
      tiers: [{ name: '', total: 60, blocked: 10 }],
      scopes: [{ name: 'client', total: 60, blocked: 10 }],
    })
    const rules = rulesSchema.parse((await scene.call('GET', `${BASE}/rules`)).body)
    expect(rules.rules.slice(0, 2).map(({ name, denied }) => [name, denied])).toEqual([
      ['per-client', 10],
      ['per-site', 0],
    ])
    expect(rules.rules.map(({ name }) => name)).toContain('tier:gold')
    const rule = ruleDetailSchema.parse((await scene.call('GET', `${BASE}/rules/per-client`)).body)
    expect(rule.editable).toBe(false)
    expect(rule.violations.ips.list).toEqual([{ name: '10.0.0.1', count: 10 }])
    expect((await scene.call('GET', `${BASE}/rules/none`)).status).toBe(404)
  })

  it('lists as many refused senders as are asked for', async () => {
    scene = await openAdminScene()
    for (let count = 0; count < 12; count++) flood(`d${count}`, 51 + count)
    const list = async (query: string): Promise<readonly string[]> => {
      const { body } = await scene.call('GET', `${BASE}/senders${query}`)
      return (body as { readonly senders: readonly { readonly id: string }[] }).senders.map(({ id }) => id)
    }
    expect(await list('')).toHaveLength(10)
    const all = await list('?limit=100')
    expect([all.length, all[0], all.at(-1)]).toEqual([12, 'client:d11', 'client:d0'])
  })

  it('counts what a rule in shadow would have refused', async () => {
    const trial = { name: 'trial', topic: 'fleet/#', per: 'client', limit: '5/day', shadow: true }
    scene = await openAdminScene({ policy: { ...POLICY, rules: [...POLICY.rules, trial] } })
    flood('d7', 12)
    const rule = ruleDetailSchema.parse((await scene.call('GET', `${BASE}/rules/trial`)).body)
    expect(rule).toMatchObject({ total: 0, denied: 0, shadow: 7 })
  })

  it('explains on the card of a sender why it is refused, and charges nothing', async () => {
    scene = await openAdminScene()
    flood('d7', 60)
    const read = async (): Promise<z.infer<typeof senderCardSchema>> =>
      senderCardSchema.parse((await scene.call('GET', `${BASE}/senders/client:d7`)).body)
    const card = await read()
    expect(card.summary).toMatch(/^Throttled: 0 of 50 left under per-client; passes again in \d+ ms\.$/)
    expect(card.identity).toMatchObject({ client: 'd7', ip: '10.0.0.1' })
    expect(card.limits.map(({ rule, limit, counter }) => [rule, limit, counter])).toEqual([
      ['per-client', 50, 'client=d7'],
      ['per-site', 1_000, 'site=berlin'],
    ])
    expect(card.refusals).toMatchObject([{ topic: 'fleet/berlin/d7', rule: 'per-client', count: 10 }])
    await scene.gate.bans.add({ client: 'd7', reason: 'floods' })
    expect(await read()).toMatchObject({ bans: [{ id: 'client:d7', reason: 'floods' }] })
    expect((await scene.call('GET', `${BASE}/senders/d7`)).status).toBe(400)
    const senders = (await scene.call('GET', `${BASE}/senders`)).body
    expect(senders).toMatchObject({ senders: [{ id: 'client:d7', count: 10 }] })
  })

  it('adds, replaces and removes entries, and keeps who did it, from where and why', async () => {
    scene = await openAdminScene()
    const body = { for: '15m', reason: 'floods' }
    const added = await scene.call('PUT', `${BASE}/bans/client:d7`, { token: scene.tokens.operator, body })
    expect([added.status, added.body]).toMatchObject([
      201,
      { entry: { id: 'client:d7', addedBy: 'operator' }, persisted: false, nodes: { confirmed: ['node-a'] } },
    ])
    const again = await scene.call('PUT', `${BASE}/bans/client:d7`, { body: { reason: 'still floods' } })
    expect(again.status).toBe(200)
    expect((await scene.call('GET', `${BASE}/bans/client:d7`)).body).toMatchObject({ addedBy: 'admin' })
    expect((await scene.call('GET', `${BASE}/bans`)).body).toMatchObject({ total: 1, next: null })
    expect((await scene.call('DELETE', `${BASE}/bans/client:d7`)).status).toBe(400)
    expect((await scene.call('DELETE', `${BASE}/bans/client:d7?reason=over`)).status).toBe(204)
    expect((await scene.call('DELETE', `${BASE}/bans/client:d7?reason=over`)).status).toBe(404)
    const { records } = (await scene.call('GET', `${BASE}/audit`)).body as { records: object[] }
    expect(records).toMatchObject([
      { action: 'removed', by: 'admin', reason: 'over', ip: '127.0.0.1' },
      { action: 'added', by: 'admin', before: { addedBy: 'operator' } },
      { action: 'added', by: 'operator', id: 'client:d7' },
    ])
  })

  it('sets overrides of some rules, tiers and exemptions', async () => {
    scene = await openAdminScene()
    const put = (path: string, body: object): Promise<{ readonly status: number; readonly body: unknown }> =>
      scene.call('PUT', `${BASE}/${path}`, { body: { reason: 'test', ...body } })
    expect((await put('overrides/client:d7', { limit: 'x2', rules: ['per-client'] })).body).toMatchObject({
      entry: { id: 'client:d7 per-client', limit: 'x2' },
    })
    expect(
      (await put('overrides/client:d7%20per-client', { limit: 'x3', rules: ['per-client'] })).status,
    ).toBe(200)
    expect((await put('tiers/user:ann', { tier: 'gold' })).status).toBe(201)
    expect((await put('exemptions/maintenance', { clients: ['d7'], for: 60_000 })).status).toBe(201)
    expect((await put('tiers/user:ann', { tier: 'lead' })).body).toMatchObject({
      status: 422,
      problems: [{ path: 'tier', message: 'there is no tier "lead"' }],
    })
    expect((await put('exemptions/all', {})).status).toBe(422)
    expect((await put('bans/nobody', {})).status).toBe(400)
  })

  it('sums up all nodes that export to a store, and names them', async () => {
    const clock = new FakeClock()
    const snapshots = new MemorySnapshots({ clock })
    const other = new Gate({ clock })
    const analytics = new Analytics({ gate: other })
    const exporter = new SnapshotExporter({ analytics, clock, store: snapshots, node: 'node-b' })
    other.checkSync({ topic: 'a', sender: { client: 'c' }, size: 0 })
    await exporter.export()
    scene = await openAdminScene({ gate: { clock }, server: { snapshots } })
    const read = async (nodes: string): Promise<unknown> =>
      summarySchema.parse((await scene.call('GET', `${BASE}/summary?nodes=${nodes}`)).body)
    expect(await read('self')).toMatchObject({ covered: ['node-a'], total: 0 })
    expect(await read('all')).toMatchObject({ covered: ['node-b'], total: 1 })
    await exporter.close()
    await other.close()
  })

  it('lists the counters of a rule with the least units left, in bounded scans', async () => {
    scene = await openAdminScene()
    const charge = (client: string, times: number): void => {
      for (let count = 0; count < times; count++)
        scene.gate.checkSync({ topic: 'fleet/a', sender: { client }, size: 1 })
    }
    charge('d1', 3)
    charge('d2', 7)
    const read = async (query = ''): Promise<z.infer<typeof keysSchema>> =>
      keysSchema.parse((await scene.call('GET', `${BASE}/rules/per-client/keys${query}`)).body)
    expect(await read()).toEqual({
      keys: [
        { counter: 'client=d2', used: 7, remaining: 43, resetMs: 700 },
        { counter: 'client=d1', used: 3, remaining: 47, resetMs: 300 },
      ],
      unit: 'messages',
      partial: false,
      next: null,
    })
    for (let count = 0; count < MAX_SIZES.scannedKeys; count++) charge(`x${count}`, 1)
    const first = await read('?limit=1')
    expect(first).toMatchObject({ keys: [{ counter: 'client=d2' }], partial: true })
    expect(await read(`?cursor=${String(first.next)}`)).toMatchObject({ partial: true, next: null })
  })

  it('serves a unix socket to its owner only, without a token', async () => {
    const path = join(`/tmp/topicgate-${process.pid}-${Date.now()}.sock`)
    scene = await openAdminScene({ server: { listen: [`unix:${path}`, '127.0.0.1:0'] } })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const { body } = await send({ socketPath: path, path: `${BASE}/status` }, 'GET', {})
    expect(body).toMatchObject({ role: 'admin', caller: 'unix-socket' })
  })

  it('refuses to listen at a host and port without tokens, on loopback too', async () => {
    scene = await openAdminScene()
    await expect(adminServer(scene.gate, { listen: '127.0.0.1:0' })).rejects.toThrow('needs tokens')
  })

  it('documents every route, and answers every documented one', async () => {
    scene = await openAdminScene()
    const document = (await scene.call('GET', `${BASE}/openapi.json`, { token: undefined })).body as {
      readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
    }
    const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map(method => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
    )
    const app = createApp({} as Parameters<typeof createApp>[0], ADMIN_ROUTES)
    const served = app.routes
      .filter(({ method, path }) => method !== 'ALL' && path.startsWith(BASE))
      .map(({ method, path }) => `${method} ${path}`)
    expect(documented.sort()).toEqual([...new Set(served)].sort())
  })
})
