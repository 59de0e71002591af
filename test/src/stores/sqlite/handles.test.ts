import { mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Logger } from '../../../../src/core/logger.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { DRIVERS } from './drivers.ts'
import { charge, makeLimit, newFile, open } from './harness.ts'

const limit = makeLimit()

/** Returns the open files of a database in this process. */
function openFiles(path: string): string[] {
  return readdirSync('/proc/self/fd').flatMap(fd => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`)
      return target.startsWith(path) ? [target] : []
    } catch {
      return []
    }
  })
}

function remove(path: string): void {
  for (const end of ['', '-wal', '-shm']) rmSync(path + end, { force: true })
}

function recordingLogger(lines: string[]): Logger {
  const log = (context: object, text = ''): void => {
    lines.push(`${text} ${JSON.stringify(context)}`)
  }
  return { debug() {}, info: log, warn: log, error: log }
}

describe.each(DRIVERS)('the file of a SQLite store, with %s', driver => {
  it('is readable by its owner only', async () => {
    const path = newFile()
    const store = await open(path, {}, driver)
    await charge(store, limit)
    for (const end of ['', '-wal', '-shm']) expect(statSync(path + end).mode & 0o777).toBe(0o600)
  })

  it('has no open handles after the store was closed', async () => {
    const path = newFile()
    const store = await open(path, {}, driver)
    await charge(store, limit)
    await store.health()
    expect(openFiles(path).length).toBeGreaterThan(0)
    await store.close()
    expect(openFiles(path)).toEqual([])
  })

  it('is opened again after it was removed, with a warning', async () => {
    const path = newFile()
    const clock = new FakeClock()
    const lines: string[] = []
    const store = await open(path, { clock, logger: recordingLogger(lines) }, driver)
    expect(lines).toEqual([expect.stringContaining(`"driver":"${driver}"`)])
    for (let count = 0; count < 3; count++) await charge(store, limit)
    expect(await charge(store, limit)).toMatchObject({ allowed: false })
    remove(path)
    await clock.advanceAsync(1_000)
    expect(lines[1]).toContain('was removed: it was opened again')
    expect(await charge(store, limit)).toMatchObject({ allowed: true, remaining: 2 })
    expect(statSync(path).size).toBeGreaterThan(0)
  })

  it('is opened again after it was replaced', async () => {
    const [path, other] = [newFile(), newFile()]
    const clock = new FakeClock()
    const lines: string[] = []
    const store = await open(path, { clock, logger: recordingLogger(lines) }, driver)
    await charge(store, limit)
    const spent = await open(other, { clock }, driver)
    for (let count = 0; count < 3; count++) await charge(spent, limit)
    await spent.close()
    remove(path)
    renameSync(other, path)
    await clock.advanceAsync(1_000)
    expect(lines[1]).toContain('was replaced: it was opened again')
    expect(await charge(store, limit)).toMatchObject({ allowed: false })
  })

  it('that cannot be opened again is a StoreError until it can', async () => {
    const path = newFile()
    const clock = new FakeClock()
    const store = await open(path, { clock }, driver)
    await charge(store, limit)
    rmSync(dirname(path), { recursive: true })
    await clock.advanceAsync(1_000)
    await expect(charge(store, limit)).rejects.toThrow('the file of the SQLite store was removed')
    expect(await store.health()).toMatchObject({ ok: false, detail: expect.stringContaining('was removed') })
    mkdirSync(dirname(path))
    await clock.advanceAsync(1_000)
    expect(await charge(store, limit)).toMatchObject({ allowed: true, remaining: 2 })
  })
})
