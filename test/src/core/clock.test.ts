import { describe, expect, it } from 'vitest'
import { toMonotonicClock } from '../../../src/core/clock.ts'
import { Gate, limit, MemoryStore } from '../../../src/index.ts'
import { openSqlite } from '../../../src/stores/sqlite/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { runCommand } from '../cli/fake-terminal.ts'
import { Folder } from '../cli/folder.ts'

const message = (client: string) => ({ topic: 't', on: 'publish', sender: { client }, size: 1 }) as const

describe('a monotone clock', () => {
  it('stops while the system clock is behind, and is the same object for all users of the clock', () => {
    const clock = new FakeClock(1_000)
    const clockOfGate = toMonotonicClock(clock)
    expect(toMonotonicClock(clock)).toBe(clockOfGate)
    expect(toMonotonicClock(clockOfGate)).toBe(clockOfGate)
    expect([clockOfGate.now(), clockOfGate.lagMs]).toEqual([1_000, 0])
    clock.set(400)
    expect([clockOfGate.now(), clockOfGate.lagMs]).toEqual([1_000, 600])
    clock.set(1_001)
    expect([clockOfGate.now(), clockOfGate.lagMs]).toEqual([1_001, 0])
  })
})

describe.each(['memory', 'sqlite'])('a gate on %s whose clock steps back', name => {
  const open = (clock: FakeClock) =>
    name === 'memory' ? new MemoryStore({ clock }) : openSqlite(':memory:', { clock })

  it('reports a wait that is enough, and one millisecond less is not', async () => {
    const clock = new FakeClock()
    const startMs = clock.now()
    const gate = new Gate({ clock, store: await open(clock) })
    gate.use(limit({ name: 'r', rate: '1/min', per: 'client' }))
    expect(await gate.check(message('c'))).toMatchObject({ allowed: true })
    clock.set(startMs - 3_630)
    expect(await gate.check(message('c'))).toMatchObject({ allowed: false, retryAfterMs: 63_630 })
    expect(await gate.peek(message('c'))).toMatchObject([{ allowed: false, retryAfterMs: 63_630 }])
    clock.set(startMs - 3_630 + 63_629)
    expect(await gate.check(message('c'))).toMatchObject({ allowed: false, retryAfterMs: 1 })
    clock.set(startMs - 3_630 + 63_630)
    expect(await gate.check(message('c'))).toMatchObject({ allowed: true })
    await gate.close()
    await gate.store.close()
  })

  it('refunds nothing for a key that was swept at a later time', async () => {
    const clock = new FakeClock()
    const startMs = clock.now()
    const gate = new Gate({ clock, store: await open(clock) })
    gate.use(limit({ name: 'r', rate: '1/min', per: 'client' }))
    await gate.check(message('c'))
    await clock.advanceAsync(120_000)
    clock.set(startMs + 1_000)
    expect(await gate.check(message('c'))).toMatchObject({ allowed: true })
    expect(await gate.check(message('c'))).toMatchObject({ allowed: false, retryAfterMs: 179_000 })
    clock.set(startMs + 179_999)
    expect(await gate.check(message('c'))).toMatchObject({ allowed: false })
    clock.set(startMs + 180_000)
    expect(await gate.check(message('c'))).toMatchObject({ allowed: true })
    await gate.close()
    await gate.store.close()
  })
})

describe('a replay of lines out of order', () => {
  it('uses the latest time so far, and reports the number of such lines', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', 'rules:\n  - { name: r, per: client, limit: 1/min }\n')
    const lines = [0, 200_000, 100_000, 150_000, 260_000].map(at => ({ at, topic: 't', client: 'c' }))
    const capture = folder.file('capture.jsonl', lines.map(line => JSON.stringify(line)).join('\n'))
    const { out, err, exitCode } = await runCommand([
      'replay',
      policy,
      capture,
      '--json',
      '--allow-out-of-order',
    ])
    expect(exitCode).toBe(0)
    const told = out
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>)
    expect(told.map(({ allowed, retryAfterMs }) => [allowed, retryAfterMs])).toEqual([
      [true, 0],
      [true, 0],
      [false, 160_000],
      [false, 110_000],
      [true, 0],
    ])
    expect(err).toContain('2 lines were out of order and decided at the latest time before: message ')
  })
})
