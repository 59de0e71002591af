import { describe, expect, it } from 'vitest'
import { BOUNDS } from '../../../src/bounds.ts'
import type { Note } from '../../../src/gate/note.ts'
import { Sharing } from '../../../src/gate/sharing.ts'
import { SILENT } from '../../../src/logger.ts'
import type { Notes, SharedNote } from '../../../src/stores/notes.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** A list in memory that can be out of reach, and counts what it is asked. */
class Board implements Notes {
  readonly kept = new Map<string, SharedNote>()
  isReachable = true
  puts = 0
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
    await this.#reach()
    return String(this.#changes)
  }
  async list(): Promise<readonly SharedNote[]> {
    await this.#reach()
    return [...this.kept.values()]
  }
  async #reach(): Promise<void> {
    await Promise.resolve()
    if (!this.isReachable) throw new Error('out of reach')
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
