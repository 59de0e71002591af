import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { hasRole, ROLES, type Role } from '../../../src/admin/access/roles.ts'
import { createToken, formatTokenFile } from '../../../src/admin/access/tokens.ts'
import { ADMIN_ROUTES } from '../../../src/admin/admin-server.ts'
import { readUiFile } from '../../../src/admin/ui-files.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import type { Logger } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { type AdminScene, type Answer, openAdminScene } from './admin-scene.ts'

let scene: AdminScene
afterEach(() => scene?.close())

const BASE = '/api/v1'
const MINUTE_MS = 60_000

/** Returns a path of a route that any input reaches, but that changes nothing. */
function pathOf(path: string): string {
  return (
    BASE +
    path.replace('{id}', 'client:x').replace('{name}', 'per-client') +
    (path === '/events' ? '?types=none' : '')
  )
}

function call(
  route: { readonly method: string; readonly path: string },
  token: string | undefined,
): Promise<Answer> {
  const body = route.method === 'POST' || route.method === 'PUT' ? {} : undefined
  return scene.call(route.method, pathOf(route.path), { token, body })
}

describe('access to the admin API', () => {
  it('needs a valid token of a sufficient role on every route', async () => {
    scene = await openAdminScene()
    const expired = createToken('old', 'admin', scene.clock.now() - 1)
    const valid = ROLES.map(role => ({ ...createToken(`t-${role}`, role), role }))
    writeFileSync(scene.tokenFile, formatTokenFile([expired, ...valid].map(({ entry }) => entry)), {
      mode: 0o600,
    })
    scene.clock.advance(2_000)
    const stranger = createToken('t-admin', 'admin').token
    for (const route of ADMIN_ROUTES) {
      const title = `${route.method} ${route.path}`
      scene.clock.advance(MINUTE_MS)
      const none = await call(route, undefined)
      expect([none.status, none.headers['www-authenticate']], title).toEqual([
        401,
        'Bearer realm="topicgate"',
      ])
      for (const wrong of ['', 'tg_', 'tg_t-admin_', stranger, expired.token, `${valid[2]!.token}x`])
        expect([401, 429], title).toContain((await call(route, wrong)).status)
      scene.clock.advance(MINUTE_MS)
      for (const { token, role } of valid) {
        const { status } = await call(route, token)
        expect(status === 401 || status === 403, `${title} as ${role}: ${status}`).toBe(
          !hasRole(role, route.role!),
        )
        expect(status, title).toBeLessThan(500)
      }
    }
  })

  it('ends for wrong tokens of an address after five, for the rest of the minute', async () => {
    scene = await openAdminScene()
    const ask = (token: string): Promise<Answer> => scene.call('GET', `${BASE}/status`, { token })
    for (let count = 0; count < 5; count++) expect((await ask(`tg_admin_${count}`)).status).toBe(401)
    const refused = await ask('tg_admin_5')
    expect([refused.status, refused.headers['retry-after']]).toEqual([429, '60'])
    // Others behind the same proxy are not locked out.
    expect((await ask(scene.tokens.admin)).status).toBe(200)
    scene.clock.advance(MINUTE_MS - 1)
    expect((await ask('tg_admin_6')).status).toBe(429)
    scene.clock.advance(1)
    expect((await ask('tg_admin_7')).status).toBe(401)
  })

  it('shows no secret of an exemption, neither in lists nor in the audit', async () => {
    scene = await openAdminScene()
    const header = { name: 'authorization', equals: 'HEADER-SECRET' }
    const put = (name: string, body: object): Promise<Answer> =>
      scene.call('PUT', `${BASE}/exemptions/${name}`, { body: { reason: 'x', ...body } })
    const answers = [
      await put('e1', { apiKeys: ['KEY-SECRET'] }),
      await put('e2', { when: { header } }),
      await put('e2', { when: { header } }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 200])
    const paths = ['/exemptions', '/exemptions/e1', '/exemptions/e2', '/audit']
    for (const path of paths) answers.push(await scene.call('GET', BASE + path))
    for (const { text } of answers) expect(text).not.toMatch(/KEY-SECRET|HEADER-SECRET/)
    expect(answers.at(-1)?.text).toContain('***')
  })

  it('keeps the secrets of an exemption that is written back as it was read, and takes no *** as a secret', async () => {
    scene = await openAdminScene()
    const put = (name: string, body: object): Promise<Answer> =>
      scene.call('PUT', `${BASE}/exemptions/${name}`, { body: { reason: 'x', ...body } })
    const keyed = { apiKeys: ['KEY-1', 'KEY-2'], topics: ['a/#'] }
    await put('e1', keyed)
    const { body } = await scene.call('GET', `${BASE}/exemptions/e1`)
    const { apiKeys } = body as { readonly apiKeys: readonly string[] }
    expect(apiKeys).toEqual(['***', '***'])
    expect((await put('e1', { apiKeys, topics: ['b/#'] })).status).toBe(200)
    expect(scene.gate.exemptions.get('e1')).toMatchObject({ apiKeys: ['KEY-1', 'KEY-2'], topics: ['b/#'] })
    const refused = [
      await put('e1', { apiKeys: ['***'] }),
      await put('e2', { apiKeys }),
      await put('e3', { when: { header: { name: 'authorization', equals: '***' } } }),
    ]
    for (const { status, text } of refused) {
      expect(status).toBe(422)
      expect(text).toContain('*** is not a secret')
    }
    expect(scene.gate.exemptions.list()).toMatchObject([{ apiKeys: ['KEY-1', 'KEY-2'] }])
    expect((await put('e4', { clients: ['***'] })).status).toBe(201)
  })

  it('to a stream ends with its token', async () => {
    scene = await openAdminScene()
    const headers = { authorization: `Bearer ${scene.tokens.viewer}` }
    const { body } = await fetch(`${scene.url}${BASE}/events?types=tick`, { headers })
    const reader = body!.getReader()
    await reader.read()
    writeFileSync(scene.tokenFile, '', { mode: 0o600 })
    const ended = until(async () => {
      scene.clock.advance(1_000)
      return (
        await Promise.race([
          reader.read(),
          new Promise<undefined>(done => setTimeout(() => done(undefined), 50)),
        ])
      )?.done
    })
    expect(await ended).toBe(true)
  })

  it('ends for a removed token within a second; a broken file changes nothing', async () => {
    scene = await openAdminScene()
    const ask = async (role: Role): Promise<number> =>
      (await scene.call('GET', `${BASE}/status`, { token: scene.tokens[role] })).status
    writeFileSync(scene.tokenFile, '', { mode: 0o600 })
    scene.clock.advance(1_000)
    expect(await ask('admin')).toBe(401)
    writeFileSync(scene.tokenFile, formatTokenFile([createToken('admin', 'admin').entry]))
    scene.clock.advance(MINUTE_MS)
    writeFileSync(scene.tokenFile, 'broken')
    scene.clock.advance(1_000)
    expect(await ask('admin')).toBe(401)
  })

  it('is refused to a page of another site, and to one that rebound its name to this address', async () => {
    scene = await openAdminScene({ server: { hosts: ['ops.example'] } })
    const ask = (headers: Readonly<Record<string, string>>): Promise<Answer> =>
      scene.call('GET', `${BASE}/status`, { headers })
    for (const host of ['evil.example', '127.0.0.1.evil.example', 'localhost.evil.example:80', '[::1', 'a b'])
      expect([400, 403], host).toContain((await ask({ host })).status)
    for (const host of ['localhost', 'LOCALHOST:9', '[::1]:8080', 'ops.example'])
      expect((await ask({ host })).status, host).toBe(200)
    for (const origin of ['https://evil.example', 'null']) {
      const refused = await ask({ origin })
      expect([refused.status, refused.headers['access-control-allow-origin']], origin).toEqual([
        403,
        undefined,
      ])
    }
    expect((await ask({ origin: scene.url })).status).toBe(200)
    expect((await scene.call('GET', '/ui/', { headers: { host: 'evil.example' } })).status).toBe(403)
    const form = { raw: '{"reason":"x"}', headers: { 'content-type': 'text/plain' } }
    expect((await scene.call('PUT', `${BASE}/bans/client:a`, form)).status).toBe(415)
  })

  it('says in every answer that no other page may frame or script it', async () => {
    scene = await openAdminScene()
    for (const path of ['/ui/', `${BASE}/status`, '/none', `${BASE}/bans/client:none`]) {
      const { headers } = await scene.call('GET', path)
      expect(headers['content-security-policy'], path).toMatch(/default-src 'self'.*frame-ancestors 'none'/)
      expect(headers['x-content-type-options'], path).toBe('nosniff')
    }
  })

  it('shows no token in the log', async () => {
    const lines: unknown[] = []
    const log = (...args: readonly unknown[]): void => void lines.push(args)
    const logger: Logger = { debug: log, info: log, warn: log, error: log }
    scene = await openAdminScene({ gate: { logger } })
    const wrong = createToken('admin', 'admin').token
    for (const token of [wrong, ...Object.values(scene.tokens)])
      await scene.call('PUT', `${BASE}/bans/client:a`, { token, body: { reason: 'x' } })
    const text = JSON.stringify(lines)
    expect(text).toContain('a wrong or expired token')
    expect(text).not.toMatch(/tg_\w+_[\w-]{20}/)
  })
})

describe('requests to the admin API', () => {
  it('of the wrong form are refused: never with status 500', async () => {
    scene = await openAdminScene()
    const put = (raw: string | Buffer, headers?: Readonly<Record<string, string>>): Promise<Answer> =>
      scene.call('PUT', `${BASE}/bans/client:a`, { raw, headers })
    const large = Buffer.alloc(MAX_SIZES.adminBodyBytes + 1, 0x20)
    expect((await put(large)).status).toBe(413)
    expect((await put(large, { 'transfer-encoding': 'chunked' })).status).toBe(413)
    for (const raw of [
      '',
      '{',
      'null',
      '[]',
      '"x"',
      '{"reason":1}',
      '{"reason":"x","more":1}',
      '['.repeat(100_000),
    ])
      expect((await put(raw)).status, raw.slice(0, 30)).toBe(400)
    for (const raw of ['{"__proto__":{"reason":"x"}}', '{"reason":"x","__proto__":{"outcome":"drop"}}'])
      expect([400, 201, 200], raw).toContain((await put(raw)).status)
    expect((await put('{"reason":"x","for":"long"}')).status).toBe(422)
    const longest = 'x'.repeat(MAX_SIZES.reasonChars)
    expect((await put(JSON.stringify({ reason: longest }))).status).toBeLessThan(300)
    expect((await put(JSON.stringify({ reason: `${longest}x` }))).status).toBe(400)
    expect((await scene.call('PATCH', `${BASE}/bans`)).status).toBe(405)
    expect((await scene.call('POST', `${BASE}/status`, { body: {} })).headers.allow).toBe('GET')
    expect((await scene.call('GET', `${BASE}/senders/${'x'.repeat(3_000)}`)).status).toBe(400)
    expect((await scene.call('GET', `${BASE}/senders/%ff`)).status).toBeLessThan(500)
    expect((await scene.call('GET', `${BASE}/none`)).status).toBe(404)
    expect((await scene.call('GET', `${BASE}/rules?limit=0`)).status).toBe(400)
  })

  it('are answered while 200 sockets of the same address say nothing', async () => {
    scene = await openAdminScene()
    const { port } = new URL(scene.url)
    const sockets: Socket[] = []
    let closed = 0
    for (let count = 0; count < 200; count++) {
      const socket = connect(Number(port), '127.0.0.1')
      socket.on('error', () => {})
      socket.on('close', () => closed++)
      sockets.push(socket)
    }
    try {
      await until(() => closed >= 200 - MAX_SIZES.adminSocketsPerAddress, { what: 'sockets that gave way' })
      expect((await scene.call('GET', `${BASE}/status`)).status).toBe(200)
    } finally {
      for (const socket of sockets) socket.destroy()
    }
  })

  it('open no event stream with HEAD', async () => {
    scene = await openAdminScene()
    for (let count = 0; count <= MAX_SIZES.adminStreams; count++) {
      const { status } = await scene.call('HEAD', `${BASE}/events`)
      expect(status).toBe(200)
    }
    const { body } = await scene.call('GET', `${BASE}/status`)
    expect(body).toMatchObject({ streams: 0 })
  })

  it('open at most so many event streams', async () => {
    scene = await openAdminScene()
    const abort = new AbortController()
    const headers = { authorization: `Bearer ${scene.tokens.viewer}` }
    const open = (): Promise<globalThis.Response> =>
      fetch(`${scene.url}${BASE}/events`, { headers, signal: abort.signal })
    const streams = await Promise.all(Array.from({ length: MAX_SIZES.adminStreams }, open))
    expect(streams.map(({ status }) => status)).toEqual(streams.map(() => 200))
    const refused = await open()
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '10'])
    abort.abort()
    const left = async (): Promise<number> =>
      ((await scene.call('GET', `${BASE}/status`)).body as { streams: number }).streams
    await until(async () => (await left()) === 0, { what: 'the end of the streams' })
    expect(await left()).toBe(0)
  })
})

describe('files of the dashboard', () => {
  it('are those of its folder, and no others', async () => {
    const parent = mkdtempSync(join(tmpdir(), 'topicgate-ui-'))
    const folder = join(parent, 'ui')
    mkdirSync(join(folder, 'assets'), { recursive: true })
    writeFileSync(join(parent, 'secret.js'), 'secret')
    writeFileSync(join(folder, 'index.html'), '<title>topicgate</title>')
    writeFileSync(join(folder, 'assets/app-Bx3f09Qa.js'), 'app')
    symlinkSync(join(parent, 'secret.js'), join(folder, 'link.js'))
    const index = await readUiFile('', folder)
    expect([await index.text(), index.headers.get('cache-control')]).toEqual([
      '<title>topicgate</title>',
      'no-cache',
    ])
    const script = await readUiFile('assets/app-Bx3f09Qa.js', folder)
    expect(script.headers.get('cache-control')).toContain('immutable')
    const escapes = [
      '../secret.js',
      'assets/../../secret.js',
      join(parent, 'secret.js'),
      'link.js',
      'assets',
      '..',
      'x\0.js',
    ]
    for (const path of escapes)
      await expect(readUiFile(path, folder), path).rejects.toMatchObject({ status: 404 })
    await expect(readUiFile('', join(parent, 'none'))).rejects.toThrow('not built')
  })

  it('are not reached by encoded paths', async () => {
    scene = await openAdminScene()
    for (const path of [
      '/ui/..%2f..%2fpackage.json',
      '/ui/%2e%2e/%2e%2e/package.json',
      '/ui/..\\package.json',
      '/ui/%00',
    ])
      expect([400, 404], path).toContain((await scene.call('GET', path)).status)
  })
})
