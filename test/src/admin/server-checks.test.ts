import { mkdirSync, mkdtempSync, utimesSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { checksSchema, type ServerCheck } from '../../../src/admin/schemas/overview.ts'
import { checkOpenFiles } from '../../../src/admin/server-checks.ts'
import { MemoryStore, type Store } from '../../../src/index.ts'
import { type AdminScene, openAdminScene } from './admin-scene.ts'

const DAY_MS = 86_400_000

let scene: AdminScene
afterEach(() => scene?.close())

async function readChecks(name: string): Promise<readonly ServerCheck[]> {
  const { body } = await scene.call('GET', '/api/v1/checks', { token: scene.tokens.viewer })
  return checksSchema.parse(body).checks.filter(check => check.name === name)
}

describe('the checks of a node', () => {
  it('find a listener that accepts no connection', async () => {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const url = `mqtt://0.0.0.0:${port}`
    scene = await openAdminScene({ server: { listeners: [url] } })
    expect(await readChecks('port')).toEqual([
      { name: 'port', result: 'ok', detail: `${url} accepts connections` },
    ])
    await new Promise(resolve => server.close(resolve))
    const [check] = await readChecks('port')
    expect([check?.result, check?.detail]).toEqual(['failed', expect.stringContaining('ECONNREFUSED')])
  })

  it('find open files that come close to their limit', () => {
    const folder = mkdtempSync(join(tmpdir(), 'topicgate-proc-'))
    mkdirSync(join(folder, 'fd'))
    for (let file = 0; file < 9; file++) writeFileSync(join(folder, 'fd', String(file)), '')
    const write = (limit: string): void =>
      writeFileSync(join(folder, 'limits'), `Max open files            ${limit}      4096     files\n`)
    write('10')
    expect(checkOpenFiles(folder, 4)).toEqual({
      name: 'file descriptors',
      result: 'warning',
      detail: '9 of 10 are in use, 4 of them connections of clients (raise ulimit -n)',
    })
    write('100')
    expect(checkOpenFiles(folder, 4).result).toBe('ok')
    write('unlimited')
    expect(checkOpenFiles(folder, 4).result).toBe('ok')
    expect(checkOpenFiles('/proc/self', undefined).detail).toMatch(/^\d+ of \d+ are in use$/)
  })

  it('find a store whose clock differs', async () => {
    const memory = new MemoryStore()
    let clockOffsetMs = 5_000
    const store: Store = {
      name: 'distant',
      algorithms: memory.algorithms,
      decide: (charges, options) => memory.decide(charges, options),
      forget: selector => memory.forget(selector),
      refund: charges => memory.refund(charges),
      health: () => ({ ok: true, clockOffsetMs }),
      close: () => memory.close(),
    }
    scene = await openAdminScene({ gate: { store } })
    expect(await readChecks('clock')).toMatchObject([
      { result: 'warning', detail: expect.stringContaining('5000 ms ahead') },
    ])
    clockOffsetMs = -20
    expect(await readChecks('clock')).toMatchObject([{ result: 'ok' }])
  })

  it('find rules that have been in shadow for more than 30 days', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'topicgate-shadow-'))
    const [old, recent] = [join(folder, 'old.yaml'), join(folder, 'recent.yaml')]
    writeFileSync(old, 'version: 1\nrules: [{ name: forgotten, limit: 1/s, shadow: true }]\n')
    writeFileSync(
      recent,
      'version: 1\nrules: [{ name: trial, limit: 2/s, shadow: true }, { name: r, limit: 9/s }]\n',
    )
    const thenS = (Date.now() - 31 * DAY_MS) / 1_000
    utimesSync(old, thenS, thenS)
    scene = await openAdminScene({ policy: [old, recent] })
    const checks = await readChecks('rule in shadow')
    expect(checks.map(({ result, detail }) => [result, detail.split(',')[0]])).toEqual([
      ['warning', 'forgotten'],
      ['ok', 'trial'],
    ])
  })
})
