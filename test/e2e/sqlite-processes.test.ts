import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLimit } from '../../src/algorithms/index.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import { openSqlite } from '../../src/stores/sqlite/index.ts'
import { DRIVERS, type DriverName, only } from '../src/stores/sqlite/drivers.ts'
import { ensureBuilt } from '../support/built.ts'
import { type Program, startNode } from '../support/program.ts'
import { until } from '../support/wait.ts'

const WRITER = join(import.meta.dirname, 'sqlite-writer.js')
const folder = mkdtempSync(join(tmpdir(), 'topicgate-sqlite-'))

beforeAll(ensureBuilt, 120_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Starts a process that asks for units of one limit. */
function write(path: string, driver: DriverName, units: number, decisions: number): Program {
  return startNode([WRITER, path, driver, `${units}`, `${decisions}`, '20'])
}

/** Units of the writer's limit that the file says are used. */
async function usedOf(path: string, driver: DriverName, units: number): Promise<number> {
  const store = await openSqlite(path, { load: only(driver) })
  const limit = createLimit({
    name: 'units',
    algorithm: 'fixed-window',
    count: units,
    periodMs: 3_600_000_000_000,
  })
  const [verdict] = await store.decide([{ limit, key: '', cost: 0 }], { commit: false })
  await store.close()
  return units - verdict!.remaining
}

const dots = (text: string): number => text.split('.').length - 1

describe.each(DRIVERS)('processes on one file, with %s', driver => {
  it('two of them admit exactly the limit', async () => {
    const path = join(folder, `two-${driver}.db`)
    await using one = write(path, driver, 20_000, 15_000)
    await using other = write(path, driver, 20_000, 15_000)
    const counts = await Promise.all([one, other].map(async each => (await each.line(/^allowed (\d+)$/))[1]!))
    expect(Number(counts[0]) + Number(counts[1])).toBe(20_000)
    expect(await usedOf(path, driver, 20_000)).toBe(20_000)
    expect((await one.ended).code).toBe(0)
    expect((await other.ended).code).toBe(0)
  })

  it('one that is killed loses nothing that was acknowledged', async () => {
    const path = join(folder, `killed-${driver}.db`)
    let acknowledged = 0
    for (const more of [100, 500, 900]) {
      await using writer = write(path, driver, 1_000_000, 1_000_000)
      await until(() => dots(writer.stdout) >= more, { timeoutMs: 60_000, what: 'decisions' })
      writer.signal('SIGKILL')
      const ended = await writer.ended
      expect(ended.signal).toBe('SIGKILL')
      acknowledged += dots(ended.stdout)
      const used = await usedOf(path, driver, 1_000_000)
      // What was committed last may not have been acknowledged any more.
      expect(used - acknowledged).toBeGreaterThanOrEqual(0)
      expect(used - acknowledged).toBeLessThanOrEqual(MAX_SIZES.sqliteBatch)
      acknowledged = used
    }
  })
})
