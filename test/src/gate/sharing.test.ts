import { describe, expect, it } from 'vitest'
import { BOUNDS } from '../../../src/bounds.ts'
import type { Note } from '../../../src/gate/note.ts'
import { Sharing } from '../../../src/gate/sharing.ts'
import { SILENT } from '../../../src/logger.ts'
import type { Notes, NotesWatch, SharedNote } from '../../../src/stores/notes.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** A list in memory that can be out of reach, and counts what it is asked. */
class Board implements Notes {
  readonly kept = new Map<string, SharedNote>()
  isReachable = true
  puts = 0
  looks = 0
  lists = 0
  #changes = 0

  async put(note: SharedNote): Promise<void> {
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
  apart(): never {
    throw new Error('nobody asks for it')
  }
  async list(): Promise<readonly SharedNote[]> {
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
class TellingBoard extends Board {
  readonly listeners = new Set<() => void>()
  isLive = true
  isSilent = false

  watch(changed: () => void): NotesWatch {
    this.listeners.add(changed)
    return { isLive: () => this.isLive, close: () => this.listeners.delete(changed) }
  }
  override async put(note: SharedNote): Promise<void> {
    await super.put(note)
    this.tell()
  }
  tell(): void {
    if (!this.isSilent) for (const listener of this.listeners) listener()
  }
}

function noteOf(id: string, expiresAtMs?: number): Note {
  const note = { id, reason: 'x', addedBy: 'x', addedAtMs: 0 }
  return expiresAtMs === undefined ? note : { ...note, expiresAtMs }
}

function sharingOn(board: Board): { sharing: Sharing; clock: FakeClock; merged: (readonly SharedNote[])[] } {
  const clock = new FakeClock(0)
  const merged: (readonly SharedNote[])[] = []
  const merge = (notes: readonly SharedNote[]): void => void merged.push(notes)
  return { sharing: new Sharing(board, { clock, logger: SILENT, known: () => [], merge }), clock, merged }
}

describe('what nodes share', () => {
  it('is told once each, however much is told at the same time', async () => {
    const board = new Board()
    const { sharing } = sharingOn(board)
    await Promise.all(Array.from({ length: 500 }, (_, i) => sharing.tell('ban', `c${i}`, noteOf(`c${i}`))))
    expect(board.kept.size).toBe(500)
    expect(board.puts).toBe(500)
  })

  it('is told when the store is in reach again, but for what is over by then', async () => {
    const board = new Board()
    board.isReachable = false
    const { sharing, clock } = sharingOn(board)
    await sharing.tell('ban', 'short', noteOf('short', 100))
    await sharing.tell('ban', 'long', noteOf('long', 10_000))
    await sharing.look()
    expect(board.kept.size).toBe(0)
    board.isReachable = true
    await clock.advanceAsync(400)
    expect([...board.kept.keys()]).toEqual(['ban long'])
    sharing.close()
    expect(clock.pending).toBe(0)
  })

  it('is asked for only when something has changed', async () => {
    const board = new Board()
    const { sharing, clock, merged } = sharingOn(board)
    await sharing.look()
    await clock.advanceAsync(4_000)
    expect(merged).toEqual([[]])
    await board.put({ kind: 'ban', id: 'theirs', json: '{}' })
    await clock.advanceAsync(400)
    expect(merged.map(({ length }) => length)).toEqual([0, 1])
    sharing.close()
  })

  it('is not taken back by a list that is older than what was sent meanwhile', async () => {
    const board = new Board()
    const spared: (readonly string[])[] = []
    const merge = (_notes: readonly SharedNote[], unsent: ReadonlySet<string>): void =>
      void spared.push([...unsent])
    const sharing = new Sharing(board, { clock: new FakeClock(0), logger: SILENT, known: () => [], merge })
    let answer = (): void => {}
    board.list = async () => {
      const notes = [...board.kept.values()]
      await new Promise<void>(resolve => {
        answer = resolve
      })
      return notes
    }
    const looking = sharing.look()
    await new Promise(setImmediate)
    await sharing.tell('ban', 'bad', noteOf('bad'))
    expect(board.kept.size).toBe(1)
    answer()
    await looking
    expect(spared).toEqual([[expect.stringContaining('bad')]])
    sharing.close()
  })

  it('is bounded while the store stays away', async () => {
    const board = new Board()
    board.isReachable = false
    const { sharing, clock } = sharingOn(board)
    const told: Promise<void>[] = []
    for (let i = 0; i <= BOUNDS.notes; i++) told.push(sharing.tell('ban', `c${i}`, noteOf(`c${i}`)))
    await Promise.all(told)
    board.isReachable = true
    await sharing.look()
    expect(board.kept.size).toBe(BOUNDS.notes)
    expect(board.kept.has('ban c0')).toBe(false)
    sharing.close()
    expect(clock.pending).toBe(0)
  })
})

const THEIRS: SharedNote = { kind: 'ban', id: 'theirs', json: '{}' }

describe('what was said last', () => {
  it('is told before the end, where the store is in reach', async () => {
    const board = new Board()
    const { sharing } = sharingOn(board)
    const told = Array.from({ length: 20 }, (_, n) => sharing.tell('ban', `c${n}`, noteOf(`c${n}`)))
    await sharing.close()
    expect(board.kept.size).toBe(20)
    await Promise.all(told)
    expect(board.puts).toBe(20)
  })

  it('keeps nobody from ending where the store is out of reach, or does not answer', async () => {
    const board = new Board()
    board.isReachable = false
    const { sharing } = sharingOn(board)
    await sharing.tell('ban', 'a', noteOf('a'))
    await sharing.close()
    expect(board.kept.size).toBe(0)

    const silent = new Board()
    silent.put = () => new Promise(() => {})
    const { sharing: other, clock } = sharingOn(silent)
    void other.tell('ban', 'a', noteOf('a'))
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

describe('what nodes share on a store that tells of changes', () => {
  it('is read as soon as it is told of, and else looked at every two seconds only', async () => {
    const board = new TellingBoard()
    const { sharing, clock, merged } = sharingOn(board)
    await sharing.look()
    await clock.advanceAsync(10_000)
    expect([board.looks, board.lists]).toEqual([6, 1])
    await board.put(THEIRS)
    await clock.advanceAsync(0)
    expect(merged.map(({ length }) => length)).toEqual([0, 1])
    expect([board.looks, board.lists]).toEqual([7, 2])
    sharing.close()
    expect(board.listeners.size).toBe(0)
    expect(clock.pending).toBe(0)
  })

  it('is asked for as often as ever while nobody tells', async () => {
    const board = new TellingBoard()
    const { sharing, clock } = sharingOn(board)
    await sharing.look()
    board.isLive = false
    board.tell()
    await clock.advanceAsync(4_000)
    expect(board.looks).toBe(1 + 1 + 10)
    sharing.close()
  })

  it('is found within two seconds where a word was lost, and asked for often until the next is heard', async () => {
    const board = new TellingBoard()
    const { sharing, clock, merged } = sharingOn(board)
    await sharing.look()
    board.isSilent = true
    await board.put(THEIRS)
    await clock.advanceAsync(2_000)
    expect(merged.map(({ length }) => length)).toEqual([0, 1])
    await clock.advanceAsync(2_000)
    expect(board.looks).toBe(2 + 5)
    board.isSilent = false
    board.tell()
    await clock.advanceAsync(2_000)
    expect(board.looks).toBe(2 + 5 + 1 + 1)
    sharing.close()
  })

  it('takes a fifth of the time at the most, however often it changes', async () => {
    const clock = new FakeClock(0)
    const board = new TellingBoard()
    const slow: Notes = {
      put: note => board.put(note),
      remove: (kind, id) => board.remove(kind, id),
      version: () => board.version(),
      apart: () => board.apart(),
      list: () => new Promise(resolve => clock.after(10, () => resolve(board.list()))),
      watch: changed => board.watch(changed),
    }
    const sharing = new Sharing(slow, { clock, logger: SILENT, known: () => [], merge: () => {} })
    const looked = sharing.look()
    await clock.advanceAsync(10)
    await looked
    for (let ms = 0; ms < 1_000; ms++) {
      await board.put({ ...THEIRS, id: `c${ms}` })
      await clock.advanceAsync(1)
    }
    expect(board.lists).toBe(1 + 20)
    sharing.close()
    expect(clock.pending).toBe(0)
  })

  it('is told at once when the store is in reach again', async () => {
    const board = new TellingBoard()
    board.isReachable = false
    const { sharing, clock } = sharingOn(board)
    await sharing.tell('ban', 'a', noteOf('a'))
    await sharing.look()
    board.isReachable = true
    board.tell()
    await clock.advanceAsync(0)
    expect([...board.kept.keys()]).toEqual(['ban a'])
    sharing.close()
  })
})
