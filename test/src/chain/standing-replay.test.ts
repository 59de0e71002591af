import { describe, expect, it } from 'vitest'
import { Gate, type Message } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { random } from '../../support/random.ts'
import { runCommand } from '../cli/fake-terminal.ts'
import { Folder } from '../cli/folder.ts'

const POLICY = `
version: 1
tiers:
  free: { limit: 6/min burst 4 }
  half: { limit: 60/min burst 20, cost: x0.5 }
  assign: { from: "{header.tier}", default: free }
rules:
  - { name: site, topic: "fleet/{site}/#", per: site, limit: 20/s burst 30, exceeded: drop, warn: [80%] }
penalties: { block: 20s, after: 3 refusals in 10s, grow: x2 up to 1m }
`

describe('tiers and penalties', () => {
  it('are replayed with the same numbers as live', async () => {
    const chance = random(7)
    const lines: Record<string, unknown>[] = []
    for (let atMs = 0; lines.length < 600; atMs += chance.int(0, 699)) {
      const client = `c${chance.int(0, 3)}`
      const tier = ['half', 'pro', 'unknown'][chance.int(0, 2)]!
      lines.push({ at: atMs, topic: 'fleet/a/t', client, headers: { tier } })
    }
    using folder = new Folder()
    const policy = folder.file('policy.yaml', POLICY)
    const capture = folder.file('capture.jsonl', lines.map(line => JSON.stringify(line)).join('\n'))
    const { out } = await runCommand(['replay', policy, capture, '--json'])
    const replayed = out
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>)

    const clock = new FakeClock(0)
    const gate = await Gate.fromPolicy(POLICY, { clock })
    const live = lines.map(({ at, topic, client, headers }) => {
      clock.advance((at as number) - clock.now())
      const message = { topic, on: 'publish', sender: { client }, size: 0, headers } as Message
      return gate.check(message) as unknown as Record<string, unknown>
    })
    await gate.close()
    expect(replayed).toHaveLength(600)
    replayed.forEach(({ reason, rule, remaining, retryAfterMs }, index) => {
      const decision = live[index]!
      const told = [decision.reason, decision.rule ?? null, decision.remaining ?? null, decision.retryAfterMs]
      expect([reason, rule, remaining, retryAfterMs], `line ${index + 1}`).toEqual(told)
    })
    const reasons = new Set(replayed.map(({ reason }) => reason))
    expect([...reasons].sort()).toEqual(['banned', 'ok', 'rate_limit_exceeded'])
    expect([...new Set(replayed.map(({ rule }) => rule))].sort()).toEqual([
      null,
      'site',
      'tier:free',
      'tier:half',
    ])
  })

  it('appear in an explanation', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', POLICY)
    const { out } = await runCommand([
      'explain',
      policy,
      '--topic',
      'fleet/a/t',
      '--client',
      'c',
      '--header',
      'tier=half',
    ])
    expect(out).toContain('tier half')
    expect(out).toContain('tier:half: token-bucket per sender=client:c: costs 0.5 of 20')
  })
})
