import { describe, expect, it } from 'vitest'
import type { Decision } from '../../../../src/core/decision.ts'
import { captureOf, generateTraffic, TRAFFIC_POLICY } from '../../../conformance/generated-traffic.ts'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

const LINES = generateTraffic(41, 1_500)

const kindOf = ({ allowed, reason, rule }: Decision): string => `${allowed} ${reason} ${rule}`

describe('explain after a capture', () => {
  it('tells of a message at its point what a replay decides there', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', TRAFFIC_POLICY)
    const ran = await runCommand(['replay', policy, folder.file('capture.jsonl', captureOf(LINES)), '--json'])
    const replayed = ran.out.trimEnd().split('\n')
    // Of each kind of decision, the last there was.
    const points = new Map(replayed.map((line, index) => [kindOf(JSON.parse(line) as Decision), index]))
    expect(points.size).toBeGreaterThan(12)
    expect([...points.keys()]).toContain('false banned null')
    for (const index of points.values()) {
      const { at, topic, payload } = LINES[index]!
      const message = [
        '--topic',
        topic,
        '--payload',
        JSON.stringify(payload),
        '--at',
        new Date(at).toISOString(),
      ]
      const before = { stdin: captureOf(LINES.slice(0, index)) }
      const { out } = await runCommand(['explain', policy, ...message, '--after', '-', '--json'], before)
      const { decision } = JSON.parse(out) as { decision: Decision }
      const { allowed, outcome, reason, rule, limit, retryAfterMs } = JSON.parse(replayed[index]!) as Decision
      expect({ rule: null, limit: null, ...decision }).toMatchObject({
        ...{ allowed, outcome, reason, rule, limit, retryAfterMs },
      })
    }
  })

  it('counts what came up to the moment of the message, and nothing after; by default all, at its end', async () => {
    using folder = new Folder()
    const policy = folder.file(
      'policy.yaml',
      'rules: [{ name: few, limit: 3 per 10s, algorithm: fixed-window }]',
    )
    const lines = [0, 1_000, 2_000, 9_000].map(at => `{"at":${at},"topic":"a"}`)
    const capture = folder.file('capture.jsonl', lines.join('\n'))
    const left = async (...args: string[]): Promise<number> => {
      const { out } = await runCommand([
        'explain',
        policy,
        '--topic',
        'a',
        '--after',
        capture,
        '--json',
        ...args,
      ])
      return (JSON.parse(out) as { limits: readonly { remaining: number }[] }).limits[0]!.remaining
    }
    expect(await left('--at', '1970-01-01T00:00:00.999Z')).toBe(1)
    expect(await left('--at', '1970-01-01T00:00:01Z')).toBe(0)
    expect(await left()).toBe(0)
    expect(await left('--at', '1970-01-01T00:00:10Z')).toBe(2)
  })

  it('says by which ban a sender is refused, and that nothing else is asked', async () => {
    using folder = new Folder()
    const policy = folder.file(
      'policy.yaml',
      'penalties: { block: 60s, after: 2 refusals in 10s }\nrules: [{ name: r, per: client, limit: 1/h }]',
    )
    const line = '{"at":0,"topic":"a","client":"c"}\n'
    const capture = folder.file('capture.jsonl', line.repeat(3))
    const about = ['explain', policy, '--after', capture, '--topic', 'a', '--client', 'c']
    const { out } = await runCommand(about)
    expect(out).toContain(
      [
        'ban (exemptions and limits are not asked)',
        '  client:c: refused 2 times',
        'outcome',
        '  reject (banned), again in 1m',
      ].join('\n'),
    )
    expect(out).not.toContain('limits\n')
  })

  it('names the line of a capture that cannot be read', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', 'rules: []')
    const capture = folder.file('capture.jsonl', '{"at":0,"topic":"a"}\n{"at":0}\n')
    const { exitCode, err } = await runCommand(['explain', policy, '--topic', 'a', '--after', capture])
    expect(exitCode).toBe(1)
    expect(err).toContain('capture.jsonl:2: "topic" is missing')
  })
})
