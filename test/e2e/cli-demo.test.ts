import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { ensureBuilt } from '../support/built.ts'
import { until } from '../support/wait.ts'
import { lastLine, logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

interface Told {
  readonly ended: boolean
  readonly atMs: number
  readonly quiet: { readonly sent: number; readonly delivered: number; readonly disordered: number }
  readonly flooder: { readonly sent: number; readonly delivered: number }
  readonly rules: readonly { readonly rule: string; readonly passed: number; readonly refused: object }[]
}

describe('topicgate demo', () => {
  it.concurrent('ends by itself, shows its rules, and no quiet device loses a message', async () => {
    await using demo = startCommand('demo', '--for', '3s')
    expect((await demo.ended).code).toBe(0)
    expect(demo.stdout).toMatch(/^1s {2}\| {2}quiet \d+ of \d+ delivered in order {2}\| {2}flooder/m)
    expect(demo.stdout).toMatch(/^rule telemetry \d+ passed, [\d,]+ throttle$/m)
    expect(lastLine(demo.stdout)).toBe('fine: no quiet device lost a message, all came in order')
    expect(demo.stderr).toBe('')
  })

  it.concurrent.each(['drop', 'throttle'])('holds the flood back by %s, too', async outcome => {
    await using demo = startCommand('demo', '--for', '3s', '--outcome', outcome, '--json')
    expect((await demo.ended).code).toBe(0)
    const last = JSON.parse(lastLine(demo.stdout)) as Told
    expect(last.ended).toBe(true)
    expect(last.quiet.sent).toBeGreaterThanOrEqual(20)
    expect(last.quiet).toMatchObject({ delivered: last.quiet.sent, disordered: 0 })
    // A burst of 50 and 10 a second.
    expect(last.flooder.sent).toBeGreaterThan(last.flooder.delivered)
    expect(last.flooder.delivered).toBeGreaterThanOrEqual(50)
    expect(last.flooder.delivered).toBeLessThanOrEqual(50 + 10 * (last.atMs / 1_000 + 1))
    expect(Object.keys(last.rules.find(({ rule }) => rule === 'telemetry')?.refused ?? {})).toEqual([outcome])
  })

  it.concurrent('ends with its summary when it is interrupted', async () => {
    await using demo = startCommand('demo', '--json')
    await logged(demo, /"ended":false/)
    demo.signal('SIGINT')
    expect((await demo.ended).code).toBe(0)
    expect(JSON.parse(lastLine(demo.stdout))).toMatchObject({ ended: true })
  })
})

describe('topicgate demo --ui', () => {
  it('serves the dashboard, with a token for this run that may act on senders', async () => {
    await using demo = startCommand('demo', '--ui')
    const [, page, token] = await demo.line(
      /^dashboard: (http:\/\/127\.0\.0\.1:\d+\/ui\/)#token=(tg_demo_[\w-]+)$/,
    )
    expect(await (await fetch(page!)).text()).toContain('<title>topicgate</title>')
    const status = new URL('../api/v1/status', page)
    expect((await fetch(status)).status).toBe(401)
    // Devices connect with their first message.
    const answer = await until(async () => {
      const response = await fetch(status, { headers: { authorization: `Bearer ${token}` } })
      const body = (await response.json()) as { readonly connections: number }
      return body.connections === 12 ? body : undefined
    })
    expect(answer).toMatchObject({ caller: 'demo', role: 'operator' })
    demo.signal('SIGINT')
    expect((await demo.ended).code).toBe(0)
  })
})

describe('topicgate demo --attack', () => {
  interface Report {
    readonly policy: readonly string[]
    readonly unlimited: { readonly count: number; readonly bytes: number }
    readonly attackers: readonly {
      readonly attacker: string
      readonly passed: Readonly<Record<'publish' | 'subscribe' | 'connect', { readonly count: number }>>
    }[]
  }

  it('varies the subjects of a policy for NATS, and reports JSON', async () => {
    const policy = join(mkdtempSync(join(tmpdir(), 'topicgate-attack-')), 'policy.yaml')
    writeFileSync(
      policy,
      'version: 1\ndialect: nats\nrules:\n  - { name: site, topic: "up.{site}.>", per: site, limit: 1/s }\n',
    )
    await using demo = startCommand('demo', '--attack', '--json', '--policy', policy)
    expect((await demo.ended).code).toBe(0)
    const report = JSON.parse(demo.stdout) as Report
    expect(report.policy).toEqual(['policy.yaml'])
    expect(report.unlimited.count).toBe(10_000)
    // Nothing bounds a client that invents sites, and nothing holds for connects.
    expect(report.attackers[0]).toMatchObject({
      attacker: 'one client',
      passed: { publish: { count: 10_000 }, connect: { count: 10_000 } },
    })
    rmSync(dirname(policy), { recursive: true })
  })

  it('takes neither a duration nor an outcome', async () => {
    await using demo = startCommand('demo', '--attack', '--for', '3s')
    expect((await demo.ended).code).toBe(2)
    expect(demo.stderr).toContain('leave out --for, --outcome, --ui and --upstream')
  })
})
