import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

/** Ordinary sensors, some of which return after an outage, and a flooder from the fourth minute on. */
const FLEET = `
for: 10m
fleet:
  - { name: sensors, count: 60, topic: "fleet/{site}/{client}/temp", values: { site: [a, b] }, send: { every: 5s, jitter: 20% } }
  - { name: returning, count: 20, topic: "fleet/{site}/{client}/temp", values: { site: [a, b] }, send: { every: 5s },
      faults: [{ every: 3m, disconnect: 40s }] }
  - { name: flooder, topic: "fleet/a/{client}/temp", send: { flood: 100/s }, from: 3m }
`

interface SuggestionJson {
  readonly dialect: string
  readonly rules: readonly {
    readonly name: string
    readonly topic?: string
    readonly per: string
    readonly limit: string
    readonly outliers: readonly { readonly key: string; readonly messages: number }[]
    readonly confidence: string
    readonly doubts: readonly string[]
  }[]
  readonly verification: Record<'ordinary' | 'outliers', { messages: number; refused: number }>
  readonly policy: string
}

async function simulated(folder: Folder, fleet = FLEET): Promise<string> {
  const capture = join(folder.path, 'capture.jsonl')
  const { exitCode } = await runCommand(['simulate', folder.file('fleet.yaml', fleet), '--capture', capture])
  expect(exitCode).toBe(0)
  return capture
}

async function suggestJson(...args: string[]): Promise<SuggestionJson> {
  const { exitCode, out, err } = await runCommand(['suggest', ...args, '--json'])
  expect([exitCode, err]).toEqual([0, ''])
  return JSON.parse(out) as SuggestionJson
}

describe('suggest', () => {
  it('names the flooder, and the rest of the capture confirms the limits', async () => {
    using folder = new Folder()
    const { rules, verification } = await suggestJson(await simulated(folder))
    expect(rules.map(({ name, topic, per }) => [name, topic, per])).toEqual([
      ['fleet-temp', 'fleet/{level2}/{device}/temp', 'client'],
      ['connects', undefined, 'client'],
    ])
    const [temp] = rules
    expect(temp!.outliers.map(({ key }) => key)).toEqual(['flooder-1'])
    // Four minutes of it are in the first 70 %.
    expect(temp!.outliers[0]!.messages / 24_000).toBeCloseTo(1, 2)
    expect([temp!.confidence, temp!.doubts]).toEqual(['low', ['less than 24 hours']])
    // An outage of 40 s leaves eight messages, which are sent at once.
    const [, burst] = /burst (\d+)$/.exec(temp!.limit) ?? []
    expect(Number(burst)).toBeGreaterThanOrEqual(9)
    expect(Number(burst)).toBeLessThanOrEqual(15)
    expect(verification.ordinary.messages).toBeGreaterThan(2_800)
    expect(verification.ordinary.refused).toBe(0)
    expect(verification.outliers.refused / verification.outliers.messages).toBeGreaterThan(0.95)
  })

  it('writes a policy in shadow that validates and says where its numbers come from', async () => {
    using folder = new Folder()
    const policy = join(folder.path, 'policy.yaml')
    const capture = await simulated(folder)
    const { exitCode, out } = await runCommand(['suggest', capture, '--write', policy])
    expect(exitCode).toBe(0)
    expect(out).toContain('with all rules in shadow')
    const text = readFileSync(policy, 'utf8')
    expect(text).toContain('Set apart: flooder-1 sends ')
    expect(text.match(/shadow: true/g)).toHaveLength(2)
    const validated = await runCommand(['validate', '--strict', policy])
    expect([validated.exitCode, validated.err]).toEqual([0, ''])
    const replayed = await runCommand(['replay', policy, capture])
    expect(replayed.out).toMatch(/ 0 refused \(0\.0 %\)/)
    // Printed without --write, the same text.
    expect((await runCommand(['suggest', capture])).out).toBe(text)
  })

  it('suggests one rule for a given topic and identity', async () => {
    using folder = new Folder()
    const capture = await simulated(folder)
    const { rules } = await suggestJson(capture, '--topic', 'fleet/{site}/{device}/#', '--per', 'site')
    expect(rules.map(({ topic, per }) => [topic, per])).toEqual([['fleet/{site}/{device}/#', 'site']])
    const wrong = [
      ['fleet/{site}/#', 'tenant', '--per tenant: fleet/{site}/# has no such capture (use client,'],
      ['fleet/#/t', 'client', '--topic: "fleet/#/t": # must be the last character (use '],
    ] as const
    for (const [topic, per, message] of wrong) {
      const { exitCode, err } = await runCommand(['suggest', capture, '--topic', topic, '--per', per])
      expect(exitCode).toBe(2)
      expect(err).toContain(message)
    }
  })

  it('names the rules of topics with words of any length', async () => {
    using folder = new Folder()
    const words = ['a', 'b'].map(end => `${'w'.repeat(300)}${end}`)
    const lines = [0, 10_000, 20_000].flatMap(at =>
      words.map(word => JSON.stringify({ at, topic: `x/${word}`, client: 'c' })),
    )
    const { rules } = await suggestJson(folder.file('capture.jsonl', lines.join('\n')))
    const name = `x-${'w'.repeat(58)}`
    expect(rules.map(each => each.name)).toEqual([name, `${name}-2`, 'all-topics'])
  })

  it('suggests for subjects of NATS', async () => {
    using folder = new Folder()
    const fleet = FLEET.replaceAll('fleet/{site}/{client}/temp', 'fleet.{site}.{client}.temp').replace(
      'fleet/a/{client}/temp',
      'fleet.a.{client}.temp',
    )
    const { dialect, rules } = await suggestJson(await simulated(folder, fleet))
    expect(dialect).toBe('nats')
    expect(rules[0]!.topic).toBe('fleet.{level2}.{device}.temp')
  })

  it('fails if the rest of the capture does not confirm the limits', async () => {
    using folder = new Folder()
    const later = 'fleet:\n  - { name: a, count: 9, topic: "x/{client}", send: { every: 5s } }\n'
    const busy = `${later}  - { name: a2, count: 9, client: "a-{n}", topic: "x/{client}", send: { every: 200ms }, from: 8m }\n`
    const { exitCode, err } = await runCommand(['suggest', await simulated(folder, busy)])
    expect(exitCode).toBe(1)
    expect(err).toMatch(
      /^failed: ordinary senders would lose \d+\.\d % of their messages \(record a longer capture/,
    )
  })

  it('reports an unreadable line with its place, and a capture that is too short', async () => {
    using folder = new Folder()
    const broken = folder.file('c.jsonl', '{"at":0,"topic":"a","client":"c"}\n{"at":1,"topic":"a"\n')
    const { exitCode, err } = await runCommand(['suggest', broken])
    expect(exitCode).toBe(1)
    expect(err).toMatch(/c\.jsonl:2: this is not JSON/)
    const short = folder.file('d.jsonl', '{"at":0,"topic":"a","client":"c"}\n')
    const second = await runCommand(['suggest', short])
    expect(second.exitCode).toBe(1)
    expect(second.err).toContain('d.jsonl: all messages have the same time (record a longer capture)')
  })

  it('reads the standard input, also compressed, and leaves no file behind', async () => {
    using folder = new Folder()
    const capture = await simulated(folder)
    const stdin = gzipSync(readFileSync(capture))
    vi.stubEnv('TMPDIR', folder.path)
    onTestFinished(() => void vi.unstubAllEnvs())
    const { exitCode, out } = await runCommand(['suggest', '-', '--json'], { stdin })
    const fromFile = await suggestJson(capture)
    const { rules, verification, policy } = JSON.parse(out) as SuggestionJson
    expect([exitCode, rules, verification]).toEqual([0, fromFile.rules, fromFile.verification])
    expect(policy).toContain('# Suggested by topicgate from the standard input: ')
    const broken = await runCommand(['suggest', '-'], { stdin: '{"at":0,"topic":"a"}\n{"at":' })
    expect([broken.exitCode, broken.err]).toEqual([
      1,
      expect.stringContaining('(standard input):2: this is not'),
    ])
    expect(readdirSync(folder.path).sort()).toEqual(['capture.jsonl', 'fleet.yaml'])
  })
})
