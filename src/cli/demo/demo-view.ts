import { basename } from 'node:path'
import { OUTCOMES } from '../../core/decision.ts'
import { formatCount, formatShare, formatTable, sanitizeForTerminal } from '../terminal/format.ts'
import type { Paint } from '../terminal/terminal.ts'
import type { FleetStats } from './demo-fleet.ts'
import type { RuleCount } from './rule-counts.ts'

/** State of the demo at one moment. */
export interface DemoState {
  readonly atMs: number
  readonly port: number
  readonly policy: readonly string[]
  /** Address of the dashboard; default: it is not served. */
  readonly dashboard?: string | undefined
  readonly fleet: FleetStats
  readonly rules: readonly RuleCount[]
  /** Messages held in the broker. */
  readonly held: number
}

/** Description of the demo, in one line. */
export const DEMO_DESCRIPTION =
  'Ten devices send counters; one floods. The policy limits it, and the ten lose nothing.'

/** Renders the live view: a few lines that replace the previous ones. */
export function renderDemo(state: DemoState, paint: Paint): readonly string[] {
  const { fleet, rules, held } = state
  const policy = state.policy.map(file => basename(file)).join(' + ')
  const back = fleet.floodSent - fleet.floodDelivered
  const fleetTable = formatTable(
    ['', 'sent', 'delivered', 'share'],
    [
      [`${fleet.devices} quiet devices`, ...shares(fleet.sent, fleet.delivered)],
      ['1 flooding device', ...shares(fleet.floodSent, fleet.floodDelivered)],
    ],
  )
  const outcomes = OUTCOMES.filter(outcome => rules.some(({ refused }) => refused.has(outcome)))
  const rows = rules.map(({ rule, passed, refused }) => [
    sanitizeForTerminal(rule, 40),
    formatCount(passed),
    ...outcomes.map(outcome => formatCount(refused.get(outcome) ?? 0)),
  ])
  const waiting = held > 0 ? `, ${formatCount(held)} of them wait` : ''
  return [
    `${paint('bold', 'topicgate demo')}  ${seconds(state.atMs)}  mqtt://127.0.0.1:${state.port}  policy ${policy}`,
    paint('dim', DEMO_DESCRIPTION),
    '',
    ...fleetTable,
    '',
    ...(rows.length > 0
      ? formatTable(['rule', 'passed', ...outcomes], rows)
      : ['no rule has decided anything']),
    '',
    harm(fleet) === undefined
      ? paint('green', `quiet devices: all in order; flood: ${formatCount(back)} held back${waiting}`)
      : paint('red', harm(fleet) ?? ''),
  ]
}

/** Renders one line, for logs and pipes. */
export function renderDemoLine({ atMs, fleet, rules }: DemoState): string {
  const quiet = `quiet ${formatCount(fleet.delivered)} of ${formatCount(fleet.sent)} delivered${harm(fleet) === undefined ? ' in order' : `, ${harm(fleet)}`}`
  const flood = `flooder ${formatCount(fleet.floodDelivered)} of ${formatCount(fleet.floodSent)} (${formatShare(fleet.floodDelivered, fleet.floodSent)})`
  return [seconds(atMs), quiet, flood, ...rules.map(describeRule)].join('  |  ')
}

/** Renders one line of JSON. */
export function renderDemoJson(state: DemoState, ended: boolean): string {
  const { fleet } = state
  const rules = state.rules.map(({ rule, passed, refused }) => ({
    rule,
    passed,
    refused: Object.fromEntries(refused),
  }))
  return JSON.stringify({
    ended,
    atMs: Math.round(state.atMs),
    port: state.port,
    dashboard: state.dashboard,
    quiet: {
      devices: fleet.devices,
      sent: fleet.sent,
      delivered: fleet.delivered,
      disordered: fleet.disordered,
    },
    flooder: { sent: fleet.floodSent, delivered: fleet.floodDelivered },
    held: state.held,
    rules,
  })
}

/** Renders the summary at the end; `lost` counts messages of quiet devices that did not arrive. */
export function renderDemoSummary(state: DemoState, paint: Paint): readonly string[] {
  const { fleet, rules } = state
  const lost = fleet.sent - fleet.delivered
  const verdict =
    lost === 0 && fleet.disordered === 0
      ? paint('green', 'fine: no quiet device lost a message, all came in order')
      : paint(
          'red',
          `failed: ${formatCount(lost)} messages of quiet devices lost, ${formatCount(fleet.disordered)} out of order`,
        )
  return [
    `${seconds(state.atMs)}: quiet devices ${formatCount(fleet.sent)} sent, ${formatCount(fleet.delivered)} delivered; ` +
      `flooder ${formatCount(fleet.floodSent)} sent, ${formatCount(fleet.floodDelivered)} delivered ` +
      `(${formatShare(fleet.floodDelivered, fleet.floodSent)})`,
    ...rules.map(rule => `rule ${describeRule(rule)}`),
    verdict,
  ]
}

function harm({ disordered }: FleetStats): string | undefined {
  return disordered === 0 ? undefined : `${formatCount(disordered)} messages of quiet devices out of order`
}

function describeRule({ rule, passed, refused }: RuleCount): string {
  const words = Array.from(refused, ([outcome, count]) => `, ${formatCount(count)} ${outcome}`)
  return `${sanitizeForTerminal(rule, 40)} ${formatCount(passed)} passed${words.join('')}`
}

function shares(sent: number, delivered: number): readonly string[] {
  return [formatCount(sent), formatCount(delivered), formatShare(delivered, sent)]
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1_000)}s`
}
