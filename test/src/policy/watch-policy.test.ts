import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Clock } from '../../../src/core/clock.ts'
import { type PolicyWatch, watchPolicy } from '../../../src/policy/watch-policy.ts'

const QUICK = { debounceMs: 5, pollMs: 50, signal: false } as const

let folder: string
let opened: PolicyWatch | undefined
let reloads: number

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'topicgate-watch-'))
  reloads = 0
})
afterEach(async () => {
  await opened?.close()
  rmSync(folder, { recursive: true, force: true })
})

const reload = async (): Promise<void> => {
  reloads++
}
const reaches = (count: number): Promise<void> =>
  vi.waitFor(() => expect(reloads).toBe(count), { timeout: 5_000, interval: 5 })

describe('watchPolicy', () => {
  it('reloads when a file is written, and again when it is replaced by a rename', async () => {
    const file = join(folder, 'policy.yaml')
    writeFileSync(file, 'version: 1\n')
    opened = watchPolicy([file], reload, QUICK)
    writeFileSync(file, 'version: 1 # 2\n')
    await reaches(1)
    for (const round of [2, 3]) {
      writeFileSync(join(folder, 'new'), `version: 1 # round ${round}\n`)
      renameSync(join(folder, 'new'), file)
      await reaches(round)
    }
  })

  it('follows the swapped links of a mounted ConfigMap', async () => {
    const fill = (name: string): void => {
      mkdirSync(join(folder, name))
      writeFileSync(join(folder, name, 'policy.yaml'), `version: 1 # ${name}\n`)
    }
    fill('..1')
    symlinkSync('..1', join(folder, '..data'))
    symlinkSync('..data/policy.yaml', join(folder, 'policy.yaml'))
    opened = watchPolicy([join(folder, 'policy.yaml')], reload, QUICK)
    for (const round of [2, 3]) {
      fill(`..${round}`)
      symlinkSync(`..${round}`, join(folder, '..data_tmp'))
      renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
      rmSync(join(folder, `..${round - 1}`), { recursive: true })
      await reaches(round - 1)
    }
  })

  it('waits for a deleted file to return', async () => {
    const file = join(folder, 'policy.yaml')
    writeFileSync(file, 'version: 1\n')
    opened = watchPolicy([file], reload, QUICK)
    unlinkSync(file)
    writeFileSync(file, 'version: 1 # back\n')
    await reaches(1)
  })

  it('does nothing where a file is touched but says the same', async () => {
    const file = join(folder, 'policy.yaml')
    writeFileSync(file, 'version: 1\n')
    const due: (() => void)[] = []
    const clock: Clock = {
      now: () => 0,
      after(_ms, run) {
        due.push(run)
        return () => {}
      },
    }
    const watch = watchPolicy([file], reload, { ...QUICK, clock })
    writeFileSync(file, 'version: 1\n')
    await vi.waitFor(() => expect(due.length).toBeGreaterThan(0), { timeout: 5_000, interval: 5 })
    for (const run of due) run()
    await new Promise(setImmediate)
    await watch.close()
    expect(reloads).toBe(0)
  })

  it('reloads at a signal though nothing changed, and goes on after a reload that failed', async () => {
    const file = join(folder, 'policy.yaml')
    writeFileSync(file, 'version: 1\n')
    const errors: unknown[] = []
    const failing = async (): Promise<void> => {
      reloads++
      throw new Error(`reload ${reloads}`)
    }
    opened = watchPolicy([file], failing, {
      ...QUICK,
      signal: 'SIGHUP',
      onError: error => errors.push(error),
    })
    process.kill(process.pid, 'SIGHUP')
    await reaches(1)
    writeFileSync(file, 'version: 1 # changed\n')
    await reaches(2)
    expect(errors.map(String)).toEqual(['Error: reload 1', 'Error: reload 2'])
  })

  it('leaves no handler of the signal behind and reloads no more once closed', async () => {
    const before = process.listenerCount('SIGHUP')
    const file = join(folder, 'policy.yaml')
    writeFileSync(file, 'version: 1\n')
    const watch = watchPolicy([file], reload, { ...QUICK, signal: 'SIGHUP' })
    expect(process.listenerCount('SIGHUP')).toBe(before + 1)
    await watch.close()
    expect(process.listenerCount('SIGHUP')).toBe(before)
    opened = watchPolicy([file], reload, QUICK)
    writeFileSync(file, 'version: 1 # changed\n')
    await reaches(1)
  })

  it('never throws for files and folders that are not there', async () => {
    const file = join(folder, 'later', 'policy.yaml')
    opened = watchPolicy([file], reload, QUICK)
    mkdirSync(join(folder, 'later'))
    writeFileSync(file, 'version: 1\n')
    await reaches(1)
  })
})
