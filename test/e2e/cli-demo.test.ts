import { beforeAll, describe, expect, it } from 'vitest'
import { ensureBuilt } from '../support/built.ts'
import { lastLine, logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

interface Told {
  readonly ended: boolean
  readonly quiet: { readonly sent: number; readonly delivered: number; readonly disordered: number }
  readonly flooder: { readonly sent: number; readonly delivered: number }
  readonly rules: readonly { readonly rule: string; readonly passed: number; readonly refused: object }[]
}

describe('topicgate demo', () => {
  it('ends by itself, shows its rules, and no quiet device loses a message', async () => {
    await using demo = startCommand('demo', '--for', '3s')
    expect((await demo.ended).code).toBe(0)
    expect(demo.stdout).toMatch(/^1s {2}\| {2}quiet \d+ of \d+ delivered in order {2}\| {2}flooder/m)
    expect(demo.stdout).toMatch(/^rule telemetry \d+ passed, [\d,]+ throttle$/m)
    expect(lastLine(demo.stdout)).toBe('fine: no quiet device lost a message, all came in order')
    expect(demo.stderr).toBe('')
  })

  it.each(['drop', 'throttle'])('holds the flood back by %s, too', async outcome => {
    await using demo = startCommand('demo', '--for', '3s', '--outcome', outcome, '--json')
    expect((await demo.ended).code).toBe(0)
    const last = JSON.parse(lastLine(demo.stdout)) as Told
    expect(last.ended).toBe(true)
    expect(last.quiet.sent).toBeGreaterThanOrEqual(100)
    expect(last.quiet).toMatchObject({ delivered: last.quiet.sent, disordered: 0 })
    // A burst of 50 and 10 a second.
    expect(last.flooder.sent).toBeGreaterThan(1_000)
    expect(last.flooder.delivered).toBeGreaterThanOrEqual(50)
    expect(last.flooder.delivered).toBeLessThan(150)
    expect(Object.keys(last.rules.find(({ rule }) => rule === 'telemetry')?.refused ?? {})).toEqual([outcome])
  })

  it('ends with its summary when it is interrupted', async () => {
    await using demo = startCommand('demo', '--json')
    await logged(demo, /"ended":false/)
    demo.signal('SIGINT')
    expect((await demo.ended).code).toBe(0)
    expect(JSON.parse(lastLine(demo.stdout))).toMatchObject({ ended: true })
  })
})
