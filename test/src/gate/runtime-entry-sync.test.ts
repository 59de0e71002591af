import { describe, expect, it } from 'vitest'
import { SILENT } from '../../../src/core/logger.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import type { RuntimeEntry } from '../../../src/gate/runtime-entry.ts'
import { RuntimeEntrySync } from '../../../src/gate/runtime-entry-sync.ts'
import type { SharedEntries, SharedEntriesWatch, SharedEntry } from '../../../src/stores/shared-entries.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** A list in memory that can be out of reach, and counts what it is asked. */
class RuntimeList implements SharedEntries {
  readonly kept = new Map<string, SharedEntry>()
  isReachable = true
  puts = 0
  looks = 0
  lists = 0
  #changes = 0

  async put(note: SharedEntry): Promise<void> {
    this.puts++
    await this.#reach()
    this.kept.set(`${note.kind} ${note.id}`, note)
    this.#changes++
  }
  async remove(kind: string, id: string): Promise<void> {
    await this.#reach()
    this.kept.delete(`${kind} ${id}`)
    this.#changes++
  }
  async version(): Promise<string> {
    this.looks++
    await this.#reach()
    return String(this.#changes)
  }
  ephemeral(): never {
    throw new Error('nobody asks for it')
  }
  async list(): Promise<readonly SharedEntry[]> {
    this.lists++
    await this.#reach()
    return [...this.kept.values()]
  }
  async #reach(): Promise<void> {
    await Promise.resolve()
    if (!this.isReachable) throw new Error('out of reach')
  }
}

/** The same that tells of changes, unless it is silent. */
class TellingBoard extends RuntimeList {
  readonly listeners = new Set<() => void>()
  isLive = true
  isSilent = false

  watch(changed: () => void): SharedEntriesWatch {
    this.listeners.add(changed)
    return { isLive: () => this.isLive, close: () => this.listeners.delete(changed) }
  }
  override async put(note: SharedEntry): Promise<void> {
    await super.put(note)
    this.tell()
  }
  tell(): void {
    if (!this.isSilent) for (const listener of this.listeners) listener()
  }
}

function runtimeEntryOf(id: string, expiresAtMs?: number): RuntimeEntry {
  const note = { id, reason: 'x', addedBy: 'x', addedAtMs: 0 }
  return expiresAtMs === undefined ? note : { ...note, expiresAtMs }
}

function sharingOn(runtimeList: RuntimeList): {
  configSync: RuntimeEntrySync
  clock: FakeClock
  merged: (readonly SharedEntry[])[]
} {
  const clock = new FakeClock(0)
  const merged: (readonly SharedEntry[])[] = []
  const merge = (sharedEntries: readonly SharedEntry[]): ReadonlySet<string> => {
    merged.push(sharedEntries)
    return new Set()
  }
  return {
    configSync: new RuntimeEntrySync(runtimeList, { clock, logger: SILENT, listEntries: () => [], merge }),
    clock,
    merged,
  }
}

describe('shared entries', () => {
  it('are written once each, however many change at the same time', async () => {
    const runtimeList = new RuntimeList()
    const { configSync } = sharingOn(runtimeList)
    await Promise.all(
      Array.from({ length: 500 }, (_, i) => configSync.share('ban', `c${i}`, runtimeEntryOf(`c${i}`))),
    )
    expect(runtimeList.kept.size).toBe(500)
    expect(runtimeList.puts).toBe(500)
  })

  it('are written when the store is reachable again, except expired ones', async () => {
    const runtimeList = new RuntimeList()
    runtimeList.isReachable = false
    const { configSync, clock } = sharingOn(runtimeList)
    await configSync.share('ban', 'short', runtimeEntryOf('short', 100))
    await configSync.share('ban', 'long', runtimeEntryOf('long', 10_000))
    await configSync.poll()
    expect(runtimeList.kept.size).toBe(0)
    runtimeList.isReachable = true
    await clock.advanceAsync(400)
    expect([...runtimeList.kept.keys()]).toEqual(['ban long'])
    configSync.close()
    expect(clock.pending).toBe(0)
  })

  it('are written with their last content, even if an earlier one expired while others were written', async () => {
    const runtimeList = new RuntimeList()
    const { configSync, clock } = sharingOn(runtimeList)
    const put = runtimeList.put.bind(runtimeList)
    const written: Promise<void>[] = []
    runtimeList.put = async note => {
      await put(note)
      // While this one is written, the ban behind it ends and is renewed.
      if (note.id !== 'second') return
      clock.advance(100)
      written.push(configSync.share('ban', 'renewed', runtimeEntryOf('renewed', 20_000)))
    }
    for (const id of ['first', 'second', 'renewed']) {
      written.push(configSync.share('ban', id, runtimeEntryOf(id, id === 'renewed' ? 100 : 10_000)))
    }
    await Promise.all(written)
    await Promise.all(written)
    expect(runtimeList.kept.get('ban renewed')?.expiresAtMs).toBe(20_000)
  })

  it('are read only after a change', async () => {
    const runtimeList = new RuntimeList()
    const { configSync, clock, merged } = sharingOn(runtimeList)
    await configSync.poll()
    await clock.advanceAsync(4_000)
    expect(merged).toEqual([[]])
    await runtimeList.put({ kind: 'ban', id: 'theirs', json: '{}' })
    await clock.advanceAsync(400)
    expect(merged.map(({ length }) => length)).toEqual([0, 1])
    configSync.close()
  })

  it('are not reverted by a list that is older than a change sent meanwhile', async () => {
    const runtimeList = new RuntimeList()
    const spared: (readonly string[])[] = []
    const merge = (_notes: readonly SharedEntry[], unsent: ReadonlySet<string>): ReadonlySet<string> => {
      spared.push([...unsent])
      return new Set()
    }
    const configSync = new RuntimeEntrySync(runtimeList, {
      clock: new FakeClock(0),
      logger: SILENT,
      listEntries: () => [],
      merge,
    })
    let answer = (): void => {}
    runtimeList.list = async () => {
      const sharedEntries = [...runtimeList.kept.values()]
      await new Promise<void>(resolve => {
        answer = resolve
      })
      return sharedEntries
    }
    const looking = configSync.poll()
    await new Promise(setImmediate)
    await configSync.share('ban', 'bad', runtimeEntryOf('bad'))
    expect(runtimeList.kept.size).toBe(1)
    answer()
    await looking
    expect(spared).toEqual([[expect.stringContaining('bad')]])
    configSync.close()
  })

  it('are bounded while the store is unreachable', async () => {
    const runtimeList = new RuntimeList()
    runtimeList.isReachable = false
    const { configSync, clock } = sharingOn(runtimeList)
    const told: Promise<void>[] = []
    for (let i = 0; i <= MAX_SIZES.sharedEntries; i++)
      told.push(configSync.share('ban', `c${i}`, runtimeEntryOf(`c${i}`)))
    await Promise.all(told)
    runtimeList.isReachable = true
    await configSync.poll()
    expect(runtimeList.kept.size).toBe(MAX_SIZES.sharedEntries)
    expect(runtimeList.kept.has('ban c0')).toBe(false)
    configSync.close()
    expect(clock.pending).toBe(0)
  })
})

const THEIRS: SharedEntry = { kind: 'ban', id: 'theirs', json: '{}' }

describe('the last change', () => {
  it('is written before closing if the store is reachable', async () => {
    const runtimeList = new RuntimeList()
    const { configSync } = sharingOn(runtimeList)
    const told = Array.from({ length: 20 }, (_, n) =>
      configSync.share('ban', `c${n}`, runtimeEntryOf(`c${n}`)),
    )
    await configSync.close()
    expect(runtimeList.kept.size).toBe(20)
    await Promise.all(told)
    expect(runtimeList.puts).toBe(20)
  })

  it('does not delay closing if the store is unreachable or does not answer', async () => {
    const runtimeList = new RuntimeList()
    runtimeList.isReachable = false
    const { configSync } = sharingOn(runtimeList)
    await configSync.share('ban', 'a', runtimeEntryOf('a'))
    await configSync.close()
    expect(runtimeList.kept.size).toBe(0)

    const silent = new RuntimeList()
    silent.put = () => new Promise(() => {})
    const { configSync: other, clock } = sharingOn(silent)
    void other.share('ban', 'a', runtimeEntryOf('a'))
    let isOver = false
    const closed = other.close().then(() => {
      isOver = true
    })
    await clock.advanceAsync(1_999)
    expect(isOver).toBe(false)
    await clock.advanceAsync(1)
    await closed
    expect(clock.pending).toBe(0)
  })
})

describe('shared entries on a store with notifications', () => {
  it('are read at a notification, and otherwise polled every two seconds only', async () => {
    const runtimeList = new TellingBoard()
    const { configSync, clock, merged } = sharingOn(runtimeList)
    await configSync.poll()
    await clock.advanceAsync(10_000)
    expect([runtimeList.looks, runtimeList.lists]).toEqual([6, 1])
    await runtimeList.put(THEIRS)
    await clock.advanceAsync(0)
    expect(merged.map(({ length }) => length)).toEqual([0, 1])
    expect([runtimeList.looks, runtimeList.lists]).toEqual([7, 2])
    configSync.close()
    expect(runtimeList.listeners.size).toBe(0)
    expect(clock.pending).toBe(0)
  })

  it('are polled at the usual interval while notifications are off', async () => {
    const runtimeList = new TellingBoard()
    const { configSync, clock } = sharingOn(runtimeList)
    await configSync.poll()
    runtimeList.isLive = false
    runtimeList.tell()
    await clock.advanceAsync(4_000)
    expect(runtimeList.looks).toBe(1 + 1 + 10)
    configSync.close()
  })

  it('are found within two seconds if a notification was lost, and polled often until the next one', async () => {
    const runtimeList = new TellingBoard()
    const { configSync, clock, merged } = sharingOn(runtimeList)
    await configSync.poll()
    runtimeList.isSilent = true
    await runtimeList.put(THEIRS)
    await clock.advanceAsync(2_000)
    expect(merged.map(({ length }) => length)).toEqual([0, 1])
    await clock.advanceAsync(2_000)
    expect(runtimeList.looks).toBe(2 + 5)
    runtimeList.isSilent = false
    runtimeList.tell()
    await clock.advanceAsync(2_000)
    expect(runtimeList.looks).toBe(2 + 5 + 1 + 1)
    configSync.close()
  })

  it('take at most a fifth of the time, however often they change', async () => {
    const clock = new FakeClock(0)
    const runtimeList = new TellingBoard()
    const slow: SharedEntries = {
      put: note => runtimeList.put(note),
      remove: (kind, id) => runtimeList.remove(kind, id),
      version: () => runtimeList.version(),
      ephemeral: () => runtimeList.ephemeral(),
      list: () => new Promise(resolve => clock.after(10, () => resolve(runtimeList.list()))),
      watch: changed => runtimeList.watch(changed),
    }
    const configSync = new RuntimeEntrySync(slow, {
      clock,
      logger: SILENT,
      listEntries: () => [],
      merge: () => new Set(),
    })
    const looked = configSync.poll()
    await clock.advanceAsync(10)
    await looked
    for (let ms = 0; ms < 1_000; ms++) {
      await runtimeList.put({ ...THEIRS, id: `c${ms}` })
      await clock.advanceAsync(1)
    }
    expect(runtimeList.lists).toBe(1 + 20)
    configSync.close()
    expect(clock.pending).toBe(0)
  })

  it('are written at once when the store is reachable again', async () => {
    const runtimeList = new TellingBoard()
    runtimeList.isReachable = false
    const { configSync, clock } = sharingOn(runtimeList)
    await configSync.share('ban', 'a', runtimeEntryOf('a'))
    await configSync.poll()
    runtimeList.isReachable = true
    runtimeList.tell()
    await clock.advanceAsync(0)
    expect([...runtimeList.kept.keys()]).toEqual(['ban a'])
    configSync.close()
  })
})
