import { describe, expect, it } from 'vitest'
import {
  type DemoState,
  renderDemo,
  renderDemoJson,
  renderDemoLine,
  renderDemoSummary,
} from '../../../../src/cli/demo/demo-view.ts'
import { RedrawnLines } from '../../../../src/cli/terminal/redrawn-lines.ts'
import { fakeTerminal } from '../fake-terminal.ts'

const plain = (_style: string, text: string): string => text

const state: DemoState = {
  atMs: 4_004,
  port: 41_234,
  policy: ['config/fleet.yaml'],
  held: 1_200,
  fleet: { devices: 10, sent: 200, delivered: 200, disordered: 0, floodSent: 4_000, floodDelivered: 80 },
  rules: [{ rule: 'telemetry', passed: 290, refused: new Map([['throttle', 40]]) }],
}
const harmed: DemoState = { ...state, fleet: { ...state.fleet, delivered: 197, disordered: 2 } }

describe('the picture of the demo', () => {
  it('shows who gets what, and what the rules said', () => {
    expect(renderDemo(state, plain)).toEqual([
      'topicgate demo  4s  mqtt://127.0.0.1:41234  policy fleet.yaml',
      expect.stringContaining('the ten lose nothing'),
      '',
      '                    sent  delivered    share',
      '10 quiet devices     200        200  100.0 %',
      '1 flooding device  4,000         80    2.0 %',
      '',
      'rule       passed  throttle',
      'telemetry     290        40',
      '',
      'quiet devices: all in order; flood: 3,920 held back, 1,200 of them wait',
    ])
    expect(renderDemo(harmed, plain).at(-1)).toBe('2 messages of quiet devices out of order')
  })

  it('fits in one line for pipes', () => {
    expect(renderDemoLine(state)).toBe(
      '4s  |  quiet 200 of 200 delivered in order  |  flooder 80 of 4,000 (2.0 %)  |  telemetry 290 passed, 40 throttle',
    )
  })

  it('is JSON for programs', () => {
    expect(JSON.parse(renderDemoJson(state, true))).toEqual({
      ended: true,
      atMs: 4_004,
      port: 41_234,
      quiet: { devices: 10, sent: 200, delivered: 200, disordered: 0 },
      flooder: { sent: 4_000, delivered: 80 },
      held: 1_200,
      rules: [{ rule: 'telemetry', passed: 290, refused: { throttle: 40 } }],
    })
  })

  it('ends with a verdict', () => {
    expect(renderDemoSummary(state, plain).at(-1)).toBe(
      'fine: no quiet device lost a message, all came in order',
    )
    expect(renderDemoSummary(harmed, plain).at(-1)).toBe(
      'failed: 3 messages of quiet devices lost, 2 out of order',
    )
  })
})

describe('LiveText', () => {
  it('draws over what it drew before, however many lines that were', () => {
    const terminal = fakeTerminal()
    const written: string[] = []
    terminal.stdout.write = text => written.push(String(text)) > 0
    const live = new RedrawnLines(terminal.stdout)
    live.draw(['a', 'b'])
    live.draw(['c'])
    live.draw(['d'])
    expect(written).toEqual(['a\nb\n', '\u001b[2A\u001b[Jc\n', '\u001b[1A\u001b[Jd\n'])
  })

  it('cuts lines that would break, for colours take no room', () => {
    const terminal = fakeTerminal({ columns: 10 })
    const written: string[] = []
    terminal.stdout.write = text => written.push(String(text)) > 0
    new RedrawnLines(terminal.stdout).draw(['1234567890', '\u001b[31m123456789\u001b[39m'])
    expect(written).toEqual(['12345678…\n\u001b[31m123456789\u001b[39m\n'])
  })
})
