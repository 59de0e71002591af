import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { policySchema } from '../../../src/admin/schemas/policy.ts'
import { type AdminScene, type Answer, openAdminScene, POLICY } from './admin-scene.ts'

let scene: AdminScene
afterEach(() => scene?.close())

const BASE = '/api/v1'

/** Opens a scene whose policy is a file, with an overlay beside it. Returns the overlay's path. */
async function openWithOverlay(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'topicgate-overlay-'))
  const file = join(folder, 'policy.json')
  const overlay = join(folder, 'policy.admin.yaml')
  writeFileSync(file, JSON.stringify(POLICY))
  writeFileSync(overlay, '# by hand\nrules: []\n')
  const reload = (): Promise<void> => scene.gate.apply([file, overlay])
  scene = await openAdminScene({
    policy: [file, overlay],
    server: { policy: { files: [file], overlay, reload } },
  })
  return overlay
}

async function put(overlay: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  return scene.call('PUT', `${BASE}/policy/overlay`, { body: { overlay, reason: 'test' }, headers })
}

async function etag(): Promise<string> {
  return String((await scene.call('GET', `${BASE}/policy`)).headers.etag)
}

describe('the policy of the admin API', () => {
  it('is shown without secrets, and as not modified by its ETag', async () => {
    scene = await openAdminScene({
      policy: { version: 1, rules: [{ name: 'r', limit: '1/s', for: { apiKeys: ['k-secret'] } }] },
    })
    const answer = await scene.call('GET', `${BASE}/policy`, { token: scene.tokens.viewer })
    expect(policySchema.parse(answer.body)).toMatchObject({ files: [], overlay: null })
    expect(answer.text).not.toContain('k-secret')
    const headers = { 'if-none-match': String(answer.headers.etag) }
    expect((await scene.call('GET', `${BASE}/policy`, { headers })).status).toBe(304)
    expect((await put('rules: []', { 'if-match': '*' })).status).toBe(409)
  })

  it('takes no hidden secret in place of a secret', async () => {
    await openWithOverlay()
    const overlay = 'exempt:\n  - { name: bridge, apiKeys: ["***"] }\n'
    const refused = await put(overlay, { 'if-match': '*' })
    expect([refused.status, refused.body]).toMatchObject([422, { problems: [{ path: 'overlay' }] }])
    const body = { for: { apiKeys: ['***'] }, reason: 'x' }
    expect((await scene.call('PUT', `${BASE}/rules/per-client`, { body })).status).toBe(422)
    expect(scene.gate.ruleOf('per-client')?.isSelective).toBe(false)
  })

  it('changes by the overlay file, with If-Match, in one step and with versions', async () => {
    const overlay = await openWithOverlay()
    const first = await etag()
    const text = 'rules: [{ name: per-client, limit: 5/s burst 5 }]\n'
    expect((await put(text)).status).toBe(428)
    expect((await put(text, { 'if-match': '"other"' })).status).toBe(412)
    const changed = await put(text, { 'if-match': first })
    expect([changed.status, changed.body]).toMatchObject([200, { version: 1 }])
    expect(readFileSync(overlay, 'utf8')).toBe(text)
    expect(scene.gate.ruleOf('per-client')?.capacity).toBe(5)
    expect((await put('rules: []', { 'if-match': first })).status).toBe(412)
    expect((await put('rules: []\n', { 'if-match': await etag() })).status).toBe(200)
    const body = { to: 1, reason: 'back' }
    expect((await scene.call('POST', `${BASE}/policy/rollback`, { body })).body).toMatchObject({ version: 3 })
    expect(scene.gate.ruleOf('per-client')?.capacity).toBe(5)
    const { versions } = (await scene.call('GET', `${BASE}/policy/versions`)).body as { versions: object[] }
    expect(versions).toMatchObject([{ id: 3, reason: 'back', by: 'admin' }, { id: 2 }, { id: 1 }])
    expect((await scene.call('GET', `${BASE}/audit?limit=1`)).body).toMatchObject({
      records: [{ kind: 'policy', action: 'changed', id: 'version 3', by: 'admin', ip: '127.0.0.1' }],
    })
  })

  it('is refused with the line and column of each problem, and stays as it was', async () => {
    const overlay = await openWithOverlay()
    const before = readFileSync(overlay, 'utf8')
    const broken = 'rules:\n  - name: per-client\n    limit: 5 apples\n'
    const answer = await put(broken, { 'if-match': await etag() })
    expect([answer.status, answer.body]).toMatchObject([422, { problems: [{ line: 3, column: 12 }] }])
    expect(readFileSync(overlay, 'utf8')).toBe(before)
    expect(scene.gate.ruleOf('per-client')?.capacity).toBe(50)
    const checked = await scene.call('POST', `${BASE}/policy/validate`, { body: { overlay: broken } })
    expect(checked.body).toMatchObject({ ok: false, problems: [{ line: 3, path: 'rules[0].limit' }] })
  })

  it('tells no variable of the environment, and reads no other file', async () => {
    await openWithOverlay()
    const validate = (overlay: string): Promise<Answer> =>
      scene.call('POST', `${BASE}/policy/validate`, { token: scene.tokens.viewer, body: { overlay } })
    const forms = [
      `"\${PATH}"`,
      '"\\x24{PATH}"',
      '"\\u0024{PATH}"',
      '"$\\x7bPATH}"',
      '"$\\\n    {PATH}"',
      `"\${NONE:-1/s}"`,
    ]
    for (const limit of forms) {
      const variables = await validate(`rules:\n- name: x\n  limit: ${limit}\n`)
      expect(variables.body, limit).toMatchObject({
        ok: false,
        problems: [{ line: 3, message: expect.stringContaining('variables') }],
      })
      expect(variables.text).not.toContain(String(process.env.PATH))
    }
    const file = await validate('/etc/hostname.yaml')
    expect(file.text).not.toMatch(/cannot be read|no such file/)
  })

  it('refuses a rule whose body names another rule', async () => {
    await openWithOverlay()
    const body = { reason: 'test', name: 'per-client', limit: '1/s' }
    expect((await scene.call('POST', `${BASE}/rules/other`, { body })).status).toBe(400)
    expect((await scene.call('PUT', `${BASE}/rules/per-site`, { body })).status).toBe(400)
  })

  it('is changed rule by rule; the file keeps its comments', async () => {
    const overlay = await openWithOverlay()
    const call = (method: string, path: string, body?: object): Promise<Answer> =>
      scene.call(method, `${BASE}/rules/${path}`, { body: body && { reason: 'test', ...body } })
    expect((await call('POST', 'burst', { topic: 'fleet/#', per: 'client', limit: '1/s' })).status).toBe(200)
    expect((await call('POST', 'burst', { limit: '1/s' })).status).toBe(409)
    expect((await call('PUT', 'burst', { limit: '2/s' })).status).toBe(200)
    expect((await call('PUT', 'per-client', { enabled: false })).status).toBe(200)
    expect((await call('GET', 'per-client')).body).toMatchObject({ enabled: false })
    expect((await call('PUT', 'per-client', { enabled: true })).status).toBe(200)
    expect((await call('GET', 'per-client')).body).toMatchObject({ enabled: true, editable: true })
    expect((await call('GET', 'tier:gold')).body).toMatchObject({ editable: false })
    expect(scene.gate.ruleOf('burst')?.count).toBe(2)
    expect((await call('PUT', 'burst', { limit: 'much' })).status).toBe(422)
    expect((await call('DELETE', 'per-site?reason=x')).status).toBe(409)
    expect((await call('DELETE', 'burst?reason=x')).status).toBe(200)
    expect((await call('DELETE', 'burst?reason=x')).status).toBe(404)
    expect(scene.gate.rules()).not.toContain('burst')
    expect(readFileSync(overlay, 'utf8')).toContain('# by hand')
  })

  it('takes several rules at once, all or none', async () => {
    const overlay = await openWithOverlay()
    const before = readFileSync(overlay, 'utf8')
    const add = (...rules: readonly object[]): Promise<Answer> =>
      scene.call('POST', `${BASE}/rules`, { body: { rules, reason: 'test' } })
    const [first, second] = [
      { name: 'first', topic: 'fleet/#', per: 'client', limit: '1/s', shadow: true },
      { name: 'second', on: 'connect', per: 'ip', limit: '1/s', exceeded: 'reject' },
    ]
    expect((await add(first, { ...second, limit: 'much' })).status).toBe(422)
    expect((await add(first, { ...second, name: 'first' })).status).toBe(400)
    expect((await add(first, { ...second, name: 'per-client' })).body).toMatchObject({
      status: 409,
      detail: 'there is a rule "per-client" already (choose another name; PUT changes the rule)',
    })
    expect((await add()).status).toBe(400)
    expect(readFileSync(overlay, 'utf8')).toBe(before)
    const { status, body } = await add(first, second)
    expect([status, body]).toMatchObject([200, { version: 1 }])
    expect(scene.gate.rules()).toEqual(expect.arrayContaining(['first', 'second']))
    expect(readFileSync(overlay, 'utf8')).toContain('# by hand')
  })

  it('is put in shadow, for all senders or a share; the file keeps its comments', async () => {
    const overlay = await openWithOverlay()
    const put = (shadow: unknown): Promise<Answer> =>
      scene.call('PUT', `${BASE}/policy/shadow`, { body: { shadow, reason: 'test' } })
    expect((await put('90%')).status).toBe(200)
    expect(readFileSync(overlay, 'utf8')).toMatch(/# by hand[\s\S]*^shadow: 90%$/m)
    const rule = await scene.call('GET', `${BASE}/rules/per-client`)
    expect(rule.body).toMatchObject({ observed: false, shadowShare: 0.9 })
    const wrong = await put('most')
    expect([wrong.status, wrong.text]).toEqual([422, expect.stringContaining('is not true, false or a perc')])
    expect((await put(3)).status).toBe(400)
    expect((await put(false)).status).toBe(200)
    expect((await scene.call('GET', `${BASE}/rules/per-client`)).body).toMatchObject({ shadowShare: 0 })
  })

  it('compares an overlay with the policy in force, and reloads its files', async () => {
    const overlay = await openWithOverlay()
    const text = 'rules: [{ name: per-client, limit: 1/s }, { name: new, limit: 9/s }]'
    expect((await scene.call('POST', `${BASE}/policy/diff`, { body: { overlay: text } })).body).toMatchObject(
      {
        added: ['new'],
        removed: [],
        changed: [{ rule: 'per-client', after: { limit: '1/s' } }],
        other: [],
      },
    )
    writeFileSync(overlay, text)
    const body = { reason: 'edited by hand' }
    expect((await scene.call('POST', `${BASE}/policy/reload`, { body })).body).toMatchObject({
      version: null,
    })
    expect(scene.gate.rules()).toContain('new')
  })
})
