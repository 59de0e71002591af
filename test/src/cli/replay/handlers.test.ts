import { describe, expect, it } from 'vitest'
import { SimulatedHandlers } from '../../../../src/cli/replay/simulated-handlers.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import type { Message } from '../../../../src/core/message.ts'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

interface Line {
  readonly outcome: string
  readonly reason: string
  readonly rule: string | null
  readonly limit: number | null
}

/** Lines of a capture, decided by a policy. */
async function replayed(policy: string, lines: readonly object[]): Promise<readonly Line[]> {
  using folder = new Folder()
  const capture = lines.map(line => `${JSON.stringify(line)}\n`).join('')
  const args = ['replay', folder.file('p.yaml', policy), folder.file('c.jsonl', capture), '--json']
  const { out } = await runCommand(args)
  expect((await runCommand(args)).out).toBe(out)
  const table = await runCommand(args.slice(0, 3))
  expect(table.exitCode).toBe(0)
  return out
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Line)
}

describe('a replay', () => {
  it('opens and closes a breaker by what handlers did, each at its own moment', async () => {
    const policy =
      'version: 1\nbreaker: { topic: "orders/{tenant}", per: tenant, open: 5s, exceeded: drop }\n'
    const failing = Array.from({ length: 11 }, (_, n) => ({ at: n, topic: 'orders/a', took: 500, ok: false }))
    const lines = await replayed(policy, [
      ...failing,
      { at: 509, topic: 'orders/a' },
      { at: 510, topic: 'orders/a' },
      { at: 510, topic: 'orders/b' },
      { at: 5_509, topic: 'orders/a' },
      { at: 5_510, topic: 'orders/a', took: 10, ok: true },
      { at: 5_511, topic: 'orders/a' },
      { at: 5_520, topic: 'orders/a' },
    ])
    const outcomes = lines.slice(11).map(({ outcome, rule }) => `${outcome} ${rule}`)
    expect(outcomes).toEqual([
      ...['deliver null', 'drop breaker', 'deliver null', 'drop breaker'],
      ...['deliver null', 'drop breaker', 'deliver null'],
    ])
  })

  it('follows a rate by feedback', async () => {
    const policy =
      'version: 1\nfeedback: { latency: 100ms, from: 10/s, upTo: 100/s, start: 100/s, every: 1s, exceeded: drop }\n'
    const lines = await replayed(
      policy,
      Array.from({ length: 20_000 }, (_, at) => ({ at, topic: 't', took: at < 10_000 ? 200 : 10 })),
    )
    const passed = (from: number, to: number): number =>
      lines.slice(from, to).filter(({ outcome }) => outcome === 'deliver').length
    expect(passed(0, 1_000)).toBe(100)
    // Ever slower while the handler takes twice as long as it should, then faster again.
    expect(passed(9_000, 10_000)).toBeLessThan(50)
    expect(passed(19_000, 20_000)).toBeGreaterThan(passed(10_000, 11_000))
  })

  it('scales the limits of who is abusive, and blocks who flaps', async () => {
    const policy =
      'version: 1\nbehaviour: {}\npenalties: { block: 60s, flapping: 3 connects in 10s }\n' +
      'rules:\n  - { name: all, limit: 1/h burst 10, per: client, exceeded: drop }\n'
    const publishes = Array.from({ length: 22 }, (_, at) => ({ at, topic: 't', client: 'c' }))
    const connects = Array.from({ length: 4 }, (_, n) => ({
      at: 100 + n,
      topic: 'connect',
      on: 'connect',
      client: 'd',
    }))
    const lines = await replayed(policy, [...publishes, ...connects])
    expect(lines.slice(19, 22).map(({ limit }) => limit)).toEqual([10, 10, 3])
    expect(lines.slice(22).map(({ reason }) => reason)).toEqual(['ok', 'ok', 'banned', 'banned'])
  })

  it.each([
    [{ took: -1 }, '"took" is -1 (write whole milliseconds, as 120)'],
    [{ took: 'long' }, '"took" is "long" (write whole milliseconds, as 120)'],
    [{ ok: 1 }, '"ok" is 1 (write true or false)'],
  ])('refuses a line with %j', async (fields, text) => {
    using folder = new Folder()
    const capture = folder.file('c.jsonl', `${JSON.stringify({ at: 0, topic: 't', ...fields })}\n`)
    const { exitCode, err } = await runCommand(['replay', folder.file('p.yaml', 'version: 1\n'), capture])
    expect(exitCode).toBe(1)
    expect(err).toContain(`:1: ${text}`)
  })

  it('keeps so many handlers at work', () => {
    const ended: number[] = []
    const pendingHandlers = new SimulatedHandlers(({ dueMs }) => void ended.push(dueMs))
    const add = (durationMs: number): void => pendingHandlers.add(7, {} as Message, { durationMs, ok: true })
    for (let n = 0; n < MAX_SIZES.replayHandlers + 3; n++) add(1_000 + n)
    // At the moment at which the one too many began.
    expect(ended).toEqual([7, 7, 7])
    add(1_004)
    pendingHandlers.endDue(1_011)
    expect(ended).toEqual([7, 7, 7, 7, 1_011, 1_011])
  })
})

describe('an explanation', () => {
  it('tells what a breaker and a rate by feedback would do', async () => {
    using folder = new Folder()
    const policy = folder.file('p.yaml', 'version: 1\nbreaker: {}\nfeedback: { start: 7/s }\n')
    const { out } = await runCommand(['explain', policy, '--topic', 'a/b'])
    expect(out).toContain(
      'handlers\n  breaker: passes: closed for "a/b", 0 of 0 failed\n' +
        '  feedback: passes: the handler is given 7 a second\n',
    )
  })
})
