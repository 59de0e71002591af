import { afterEach, describe, expect, it } from 'vitest'
import { decideBatchSchema, decisionSchema } from '../../../src/admin/schemas/explain-and-decide.ts'
import { senderCardSchema } from '../../../src/admin/schemas/senders.ts'
import { MessageCapture } from '../../../src/admin/state/message-capture.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { createSender } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { type AdminScene, type Answer, openAdminScene } from './admin-scene.ts'

let scene: AdminScene
afterEach(() => scene?.close())

const BASE = '/api/v1'
const MESSAGE = { topic: 'fleet/berlin/d7', sender: { client: 'd7' } }

function post(path: string, body: object, options: Parameters<AdminScene['call']>[2] = {}): Promise<Answer> {
  return scene.call('POST', `${BASE}/${path}`, { body, ...options })
}

/** Returns the units that per-client leaves the client d7. */
async function remaining(): Promise<number | undefined> {
  const { body } = await scene.call('GET', `${BASE}/senders/client:d7`)
  return senderCardSchema.parse(body).limits.find(({ rule }) => rule === 'per-client')?.remaining
}

describe('decisions for other programs', () => {
  it('are charged, unless they are only to be looked at', async () => {
    scene = await openAdminScene()
    const looked = decisionSchema.parse((await post('decide', { ...MESSAGE, commit: false })).body)
    expect(looked).toMatchObject({ allowed: true, rule: 'per-client', remaining: 49 })
    expect(await remaining()).toBe(50)
    expect(decisionSchema.parse((await post('decide', MESSAGE)).body)).toMatchObject({ remaining: 49 })
    const messages = Array.from({ length: 60 }, () => MESSAGE)
    const { decisions } = decideBatchSchema.parse((await post('decide/batch', { messages })).body)
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(49)
    expect(decisions.at(-1)).toMatchObject({ allowed: false, reason: 'rate_limit_exceeded' })
  })

  it('are charged by operators only', async () => {
    scene = await openAdminScene()
    const { viewer, operator } = scene.tokens
    expect((await post('decide', MESSAGE, { token: viewer })).status).toBe(403)
    expect((await post('decide', { ...MESSAGE, commit: false }, { token: viewer })).status).toBe(200)
    expect((await post('decide', MESSAGE, { token: operator })).status).toBe(200)
  })

  it('refuse what is no message', async () => {
    scene = await openAdminScene()
    expect((await post('decide', { topic: 'fleet/#' })).body).toMatchObject({
      status: 422,
      problems: [{ path: 'topic' }],
    })
    expect((await post('decide', { topic: 'a', sender: { clent: 'x' } })).status).toBe(400)
  })
})

describe('an explanation', () => {
  it('has the live counts and shows no API key', async () => {
    scene = await openAdminScene({
      policy: { version: 1, exempt: [{ name: 'x', apiKeys: ['k-1'] }], rules: [{ name: 'r', limit: '5/s' }] },
    })
    scene.gate.checkSync({ topic: 'a', sender: { client: 'c' }, size: 0 })
    const answer = await post('explain', { topic: 'a', sender: { client: 'c', apiKey: 'k-2' } })
    expect(answer.body).toMatchObject({ limits: [{ rule: 'r', remaining: 3, limit: 5 }] })
    expect(answer.text).not.toMatch(/k-[12]/)
  })
})

describe('a reset', () => {
  it('forgets the counts of one sender, of a rule, or of all if that is confirmed', async () => {
    scene = await openAdminScene()
    const charge = async (): Promise<void> => {
      for (const client of ['d7', 'd8'])
        scene.gate.checkSync({ topic: 'fleet/berlin/x', sender: { client }, size: 0 })
    }
    await charge()
    expect((await post('reset', { sender: 'client:d7', reason: 'x' })).body).toEqual({ keys: 1 })
    expect(await remaining()).toBe(50)
    await charge()
    expect((await post('reset', { rule: 'per-client', reason: 'x' })).body).toEqual({ keys: 2 })
    expect((await post('reset', { rule: 'none', reason: 'x' })).status).toBe(404)
    expect((await post('reset', { reason: 'x' })).status).toBe(400)
    await charge()
    expect((await post('reset', { confirm: 'all', reason: 'x' })).body).toEqual({ keys: 3 })
    const { records } = (await scene.call('GET', `${BASE}/audit`)).body as { records: object[] }
    expect(records).toMatchObject([
      { kind: 'counters', action: 'reset', id: 'all' },
      { id: 'per-client', note: { keys: 2 } },
      { id: 'client:d7', by: 'admin' },
    ])
  })

  it('of metrics sets their counts to zero', async () => {
    scene = await openAdminScene()
    scene.gate.checkSync({ topic: 'fleet/a/b', sender: { client: 'c' }, size: 0 })
    expect((await post('metrics/reset', { reason: 'new week' })).status).toBe(204)
    expect((await scene.call('GET', `${BASE}/rules/per-client`)).body).toMatchObject({ total: 0 })
  })

  it('runs once for an Idempotency-Key, whose body may not differ', async () => {
    scene = await openAdminScene()
    const headers = { 'idempotency-key': 'k1' }
    const first = await post('decide', MESSAGE, { headers })
    expect((await post('decide', MESSAGE, { headers })).body).toEqual(first.body)
    expect(await remaining()).toBe(49)
    expect((await post('decide', { ...MESSAGE, topic: 'fleet/x/y' }, { headers })).status).toBe(422)
  })
})

describe('a capture', () => {
  it('has every decided message once, without payloads and API keys, and is in the audit log', async () => {
    scene = await openAdminScene()
    const sender = createSender({ client: 'd7', user: 'ann', apiKey: 'k-1' })
    const message = {
      topic: 'fleet/a',
      on: 'publish',
      sender,
      size: 3,
      payload: () => ({ secret: 1 }),
    } as const
    const captured = post('capture', { max: 3, topic: 'fleet/#', reason: 'bug 7' })
    await until(async () => (await post('capture', { reason: 'x' })).status === 409, { what: 'the capture' })
    scene.gate.checkSync(message)
    scene.gate.checkSync(message)
    scene.gate.checkSync({ ...message, topic: 'other' })
    scene.gate.checkSync({ ...message, size: 4 })
    scene.gate.checkSync({ ...message, size: 5 })
    const { text } = await captured
    const lines = text
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line) as object)
    expect(lines).toMatchObject([
      { topic: 'fleet/a', client: 'd7', user: 'ann', size: 3 },
      { size: 4 },
      { size: 5 },
    ])
    expect(text).not.toMatch(/secret|k-1/)
    expect((await scene.call('GET', `${BASE}/audit`)).body).toMatchObject({
      records: [{ kind: 'capture', action: 'started', reason: 'bug 7' }],
    })
  })

  it('ends by itself, and can hide names', async () => {
    scene = await openAdminScene()
    const captured = post('capture', { for: '10s', senders: 'hashes', reason: 'x' })
    await until(async () => (await post('capture', { reason: 'x' })).status === 409, { what: 'the capture' })
    scene.gate.checkSync({ topic: 'fleet/a', sender: { client: 'd7', ip: '10.0.0.1' }, size: 1 })
    scene.clock.advance(10_000)
    const { text } = await captured
    expect(text).toMatch(/"client":"[\w-]{16}"/)
    expect(text).not.toMatch(/d7|10\.0\.0\.1/)
    expect((await post('capture', { for: '2h', reason: 'x' })).status).toBe(422)
  })

  it('runs alone, also if several are asked for at once, and its answer is not repeated', async () => {
    scene = await openAdminScene()
    const headers = { 'idempotency-key': 'k' }
    const all = [1, 2, 3].map(() => post('capture', { for: '10s', reason: 'x' }, { headers }))
    await until(async () => (await post('capture', { reason: 'x' })).status === 409, { what: 'the capture' })
    scene.clock.advance(10_000)
    expect((await Promise.all(all)).map(({ status }) => status).sort()).toEqual([200, 409, 409])
  })

  it('ends when its reader does not keep up', async () => {
    scene = await openAdminScene()
    const capture = new MessageCapture(scene.gate, { forMs: 60_000, max: Infinity, hashSenders: false })
    for (let count = 0; count < MAX_SIZES.capturedLines + 5; count++)
      scene.gate.checkSync({ topic: 'a', sender: { client: 'c' }, size: 1 })
    const lines = (await capture.next())?.split('\n').length ?? 0
    expect([lines - 1, await capture.next()]).toEqual([MAX_SIZES.capturedLines, undefined])
  })
})
