import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { renderCharts } from '../../../../src/cli/plot/line-chart.ts'
import { SenderLevels } from '../../../../src/cli/plot/sender-levels.ts'
import type { Decision } from '../../../../src/core/decision.ts'
import type { Message } from '../../../../src/core/message.ts'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

const POLICY =
  'version: 1\nrules: [{ name: all, topic: "fleet/#", per: client, limit: 1/s burst 5, exceeded: drop }]\n'

const FLEET = `
for: 2m
fleet:
  - { name: quiet, count: 60, topic: "fleet/{client}", send: { every: 2s, jitter: 50% } }
  - { name: loud, topic: "fleet/{client}", send: { every: 500ms } }
`

/** Heights of the path of a series, in the order of time. */
function heightsOf(svg: string, color: string): readonly number[] {
  const [, path = ''] = new RegExp(`<path d="([^"]+)"[^>]*stroke="${color}"`).exec(svg) ?? []
  return [...path.matchAll(/[MV](?:[\d.]+ )?([\d.]+)/g)].map(([, height]) => Number(height))
}

function expectWellFormed(svg: string): void {
  expect(svg).not.toMatch(/NaN|Infinity|undefined/)
  const open: string[] = []
  for (const [, end, name, self] of svg.matchAll(/<(\/?)(\w+)(?:\s[^<>]*?)?(\/?)>/g)) {
    if (end === '/') expect(open.pop()).toBe(name)
    else if (self !== '/') open.push(name!)
  }
  expect(open).toEqual([])
}

describe('plots', () => {
  it('show the level of a sender and what was refused, of a replay and of a simulation', async () => {
    using folder = new Folder()
    const fleet = folder.file('fleet.yaml', FLEET)
    const policy = folder.file('policy.yaml', POLICY)
    const [capture, first, second] = ['c.jsonl', 'a.svg', 'b.svg'].map(name => join(folder.path, name))
    const plot = ['--sender', 'client:loud-1', '--plot']
    await runCommand(['simulate', fleet, '--policy', policy, '--capture', capture!, ...plot, first!])
    const { exitCode } = await runCommand(['replay', policy, capture!, ...plot, second!])
    expect(exitCode).toBe(0)
    const svg = readFileSync(first!, 'utf8')
    expect(readFileSync(second!, 'utf8')).toBe(svg)
    expectWellFormed(svg)
    expect(svg).toContain('<title id="title">client loud-1 against its limits</title>')
    // 240 messages in two minutes: five at once, and one a second.
    expect(svg).toMatch(/client loud-1: at most 5 of 5 in use over 2m, 116 messages refused\./)
    // The level rises to the limit at the top; a smaller number is higher.
    const heights = heightsOf(svg, '#1f6feb')
    expect(heights[0]).toBeGreaterThan(heights[9]!)
    expect(Math.min(...heights)).toBe(40)
  })

  it('say so if no rule decided about the sender', async () => {
    using folder = new Folder()
    const capture = folder.file('c.jsonl', '{"at":0,"topic":"fleet/a","client":"a"}\n')
    const file = join(folder.path, 'a.svg')
    const policy = folder.file('policy.yaml', POLICY)
    await runCommand(['replay', policy, capture, '--plot', file, '--sender', 'client:b'])
    expect(readFileSync(file, 'utf8')).toContain('client b: no rule decided about it')
    const { exitCode, err } = await runCommand(['replay', policy, capture, '--plot', file])
    expect(exitCode).toBe(2)
    expect(err).toContain('--plot shows one sender: add --sender client:d7')
    const other = await runCommand(['replay', policy, capture, '--plot', file, '--sender', 'd7'])
    expect([other.exitCode, other.err]).toEqual([2, expect.stringContaining('Write a sender as client:d7')])
  })

  it('show the bursts that a suggestion is made from', async () => {
    using folder = new Folder()
    const [capture, file] = [join(folder.path, 'c.jsonl'), join(folder.path, 's.svg')]
    await runCommand(['simulate', folder.file('fleet.yaml', FLEET), '--capture', capture])
    const { exitCode } = await runCommand(['suggest', capture, '--plot', file])
    expect(exitCode).toBe(0)
    const svg = readFileSync(file, 'utf8')
    expectWellFormed(svg)
    expect(svg).toContain('<title id="chart1">rule fleet: ')
    expect(svg).toContain('61 keys, 1 outliers not shown. Confidence low.')
    expect(svg.match(/<circle /g)).toHaveLength(2)
  })

  it('have a bounded number of points, and lose no refusal', () => {
    const levels = new SenderLevels({ part: 'client', value: 'c' })
    const message: Message = { topic: 't', on: 'publish', sender: { client: 'c' }, size: 0 }
    const decision: Decision = {
      allowed: false,
      outcome: 'drop',
      reason: 'rate_limit_exceeded',
      rule: 'r',
      limit: 7,
      remaining: 0,
      retryAfterMs: 1,
      resetMs: 1,
    }
    for (let atMs = 0; atMs < 100_000; atMs += 3) levels.record(atMs, message, decision)
    const svg = levels.render()
    expect(svg).toContain('33,334 messages refused')
    expect(svg.match(/<circle /g)!.length).toBeLessThanOrEqual(1_000)
  })

  it('escape names', () => {
    const axis = { label: '<x>', scale: 'linear', format: String } as const
    const svg = renderCharts('a & b', [{ title: '"<', description: '', x: axis, y: axis, series: [] }])
    expectWellFormed(svg)
    expect(svg).toContain('a &amp; b')
    expect(svg).toContain('&quot;&lt;')
  })
})
