import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import Database from 'libsql'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openSqlite } from '../../src/stores/sqlite/index.ts'
import { ensureBuilt, ROOT } from '../support/built.ts'
import { freePort } from '../support/ports.ts'
import { type ExitResult, runNode } from '../support/program.ts'
import { startCommand } from './cli.ts'

const built = (path: string): string => JSON.stringify(pathToFileURL(join(ROOT, 'dist', path)).href)

/** Runs a program that asks one store one thing, and has nothing else to do. */
function ask(open: string): Promise<ExitResult> {
  const program = `
    import { Gate, limit, openStore } from ${built('src/index.js')}
    import { openSqlite } from ${built('src/stores/sqlite/index.js')}
    const store = await ${open}
    const gate = new Gate({ store }).use(limit({ name: 'r', rate: '5/h' }))
    const ask = async () => gate.check({ topic: 'a', on: 'publish', sender: { client: 'c' }, size: 1 })
    console.log(await ask().then(({ allowed, fallback }) => 'answer ' + allowed + ' ' + fallback, e => e.message))
    await gate.close()
    await store.close()
    console.log('closed')`
  return runNode(['--input-type=module', '-e', program])
}

let folder: string
beforeAll(async () => {
  await ensureBuilt()
  folder = await mkdtemp(join(tmpdir(), 'topicgate-awaited-'))
}, 120_000)
afterAll(() => rm(folder, { recursive: true }))

describe('a program that only waits for its store', () => {
  it('gets its answer from a file that another connection locks for a while', async () => {
    const file = join(folder, 'locked.db')
    await (await openSqlite(file)).close()
    const other = new Database(file)
    other.exec('BEGIN IMMEDIATE')
    const asked = ask(`openSqlite(${JSON.stringify(file)}, { lockWaitMs: 200 })`)
    const { code, stdout } = await asked
    other.exec('COMMIT')
    other.close()
    expect(stdout).toMatch(/SQLITE_BUSY[\s\S]*closed/)
    expect(code).toBe(0)
  })

  it.each(['redis', 'nats'])(
    'gets the answer of the fallback from a server that is down: %s',
    async scheme => {
      const { code, stdout } = await ask(`openStore('${scheme}://127.0.0.1:${await freePort()}')`)
      expect(stdout).toBe('answer true true\nclosed\n')
      expect(code).toBe(0)
    },
  )
})

describe('the commands', () => {
  it.each(['redis', 'nats'])('broker serves while its store is down: %s', async scheme => {
    const policy = join(folder, `${scheme}.yaml`)
    await writeFile(
      policy,
      `store: ${scheme}://127.0.0.1:${await freePort()}\nrules:\n  - { name: r, limit: 5/h }\n`,
    )
    await using broker = startCommand('broker', policy, '--port', '0')
    await broker.line(/ready/)
    broker.signal('SIGTERM')
    expect((await broker.ended).code).toBe(0)
  })
})
