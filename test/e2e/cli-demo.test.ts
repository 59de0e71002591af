import { beforeAll, describe, expect, it } from 'vitest'
import { buildOnce, Command } from './cli.ts'

beforeAll(buildOnce, 120_000)

interface Told {
  readonly ended: boolean
  readonly quiet: { readonly sent: number; readonly delivered: number; readonly disordered: number }
  readonly flooder: { readonly sent: number; readonly delivered: number }
  readonly rules: readonly { readonly rule: string; readonly passed: number; readonly refused: object }[]
}

describe('topicgate demo', () => {
  it('ends by itself, shows its rules, and no quiet device loses a message', async () => {
    await using demo = new Command('demo', '--for', '3s')
    expect(await demo.ended()).toBe(0)
    expect(demo.out).toMatch(/^1s {2}\| {2}quiet \d+ of \d+ delivered in order {2}\| {2}flooder/m)
    expect(demo.out).toMatch(/^rule telemetry \d+ passed, [\d,]+ throttle$/m)
    expect(demo.out.trimEnd().split('\n').at(-1)).toBe(
      'fine: no quiet device lost a message, all came in order',
    )
    expect(demo.err).toBe('')
  })

  it.each(['drop', 'throttle'])('holds the flood back by %s, too', async outcome => {
    await using demo = new Command('demo', '--for', '3s', '--outcome', outcome, '--json')
    expect(await demo.ended()).toBe(0)
    const last = JSON.parse(demo.out.trimEnd().split('\n').at(-1) ?? '') as Told
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
    await using demo = new Command('demo', '--json')
    await demo.logged('"ended":false')
    demo.signal('SIGINT')
    expect(await demo.ended()).toBe(0)
    expect(JSON.parse(demo.out.trimEnd().split('\n').at(-1) ?? '')).toMatchObject({ ended: true })
  })
})
