import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse, stringify } from 'yaml'
import { Analytics } from '../../../src/analytics/analytics.ts'
import { Gate } from '../../../src/index.ts'
import { DecisionTimer } from '../../../src/metrics/decision-durations.ts'
import { collectMetrics } from '../../../src/metrics/metrics.ts'
import { ROOT } from '../../support/built.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { promtool } from './promtool.ts'

const text = (path: string): string => readFileSync(join(ROOT, 'config', path), 'utf8')

interface Panel {
  readonly id: number
  readonly title: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets: readonly { readonly expr: string }[]
}

const dashboard = JSON.parse(text('grafana/topicgate.json')) as {
  readonly uid: string
  readonly templating: { readonly list: readonly { readonly name: string }[] }
  readonly panels: readonly Panel[]
}
const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))

interface Rule {
  readonly alert?: string
  readonly record?: string
  readonly expr: string
}
const rules = (
  parse(text('prometheus/topicgate.rules.yml')) as { groups: { rules: Rule[] }[] }
).groups.flatMap(group => group.rules)

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'topicgate-promtool-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Returns a file that a container can read, too. */
function copied(name: string, content: string): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

/** Returns the names of all metrics of a gate with a breaker and a guard. */
async function exposed(): Promise<ReadonlySet<string>> {
  const gate = new Gate({ clock: new FakeClock() })
  const stats = {
    held: 0,
    heldBytes: 0,
    overflowed: 0,
    superseded: 0,
    discarded: 0,
    fallbacks: 0,
    timeouts: 0,
  }
  const families = await collectMetrics({
    analytics: new Analytics({ gate }),
    durations: new DecisionTimer({ gate }),
    store: {
      name: 'redis',
      health: () => ({ ok: true, state: 'closed', keys: 0, evictions: 0, overflows: 0 }),
    },
    guards: [{ stats: () => stats }],
  })
  const ofRules = rules.flatMap(({ record }) => record ?? [])
  return new Set([
    ...families.flatMap(({ name, type }) =>
      type === 'histogram' ? ['_bucket', '_sum', '_count'].map(end => name + end) : [name],
    ),
    ...ofRules,
  ])
}

const namesIn = (query: string): readonly string[] => query.match(/\btopicgate[\w:]+/g) ?? []

describe('the Prometheus rules', () => {
  it('are valid, and prometheus.yml refers to them', () => {
    copied('topicgate.rules.yml', text('prometheus/topicgate.rules.yml'))
    const { fine, said } = promtool([
      'check',
      'config',
      copied('prometheus.yml', text('prometheus/prometheus.yml')),
    ])
    expect(said).toContain(`SUCCESS: ${rules.length} rules found`)
    expect(fine).toBe(true)
  })

  it('fire when they should, and not before', () => {
    const topicgate = copied('topicgate.rules.yml', text('prometheus/topicgate.rules.yml'))
    const blockRates = (percent: number, name: string, fires: readonly string[]) => ({
      name,
      interval: '15s',
      input_series: [
        { series: 'topicgate_requests_total{job="j",rule="r"}', values: '0+1500x60' },
        { series: 'topicgate_blocked_total{job="j",rule="r"}', values: `0+${15 * percent}x60` },
      ],
      alert_rule_test: ['TopicgateBlockRateHigh', 'TopicgateBlockRateCritical', 'TopicgateVolumeHigh'].map(
        alertname => ({
          eval_time: '10m',
          alertname,
          exp_alerts: fires.includes(alertname)
            ? [
                {
                  exp_labels: { job: 'j', severity: alertname.endsWith('Critical') ? 'critical' : 'warning' },
                  exp_annotations: annotationsOf(alertname, `${percent}%`),
                },
              ]
            : [],
        }),
      ),
    })
    const annotationsOf = (alertname: string, value: string): unknown => {
      const rule = rules.find(({ alert }) => alert === alertname) as unknown as {
        annotations: Record<string, string>
      }
      const entries = Object.entries(rule.annotations)
      return Object.fromEntries(entries.map(([key, words]) => [key, words.replace(/\{\{[^}]*\}\}/, value)]))
    }
    const tests = {
      rule_files: [topicgate],
      evaluation_interval: '15s',
      tests: [
        blockRates(29, 'under both', []),
        blockRates(40, 'between', ['TopicgateBlockRateHigh']),
        blockRates(60, 'above both', ['TopicgateBlockRateHigh', 'TopicgateBlockRateCritical']),
      ],
    }
    const { fine, said } = promtool(['test', 'rules', copied('tests.yml', stringify(tests))])
    expect(fine, said).toBe(true)
  })

  it('use only existing metrics', async () => {
    const known = await exposed()
    expect(rules.flatMap(({ expr }) => namesIn(expr)).filter(name => !known.has(name))).toEqual([])
  })

  it('cover the built-in alerts', () => {
    expect(rules.flatMap(({ alert }) => alert ?? [])).toEqual([
      'TopicgateBlockRateHigh',
      'TopicgateBlockRateCritical',
      'TopicgateVolumeHigh',
      'TopicgateDecisionsSlow',
      'TopicgateBreakerOpen',
      'TopicgateKeysEvicted',
    ])
  })
})

describe('the Grafana dashboard', () => {
  it('has valid Prometheus queries', () => {
    expect(queries.length).toBeGreaterThan(15)
    // Variables that Grafana fills in.
    const asked = queries.map(query =>
      query.replaceAll('$__rate_interval', '1m').replaceAll(/\$(job|instance)/g, '.*'),
    )
    expect(asked.filter(query => query.includes('$'))).toEqual([])
    const file = {
      groups: [{ name: 'g', rules: asked.map((expr, index) => ({ record: `query_${index}`, expr })) }],
    }
    const { fine, said } = promtool(['check', 'rules', copied('queries.yml', stringify(file))])
    expect(said).toContain(`SUCCESS: ${asked.length} rules found`)
    expect(fine).toBe(true)
  })

  it('queries only existing metrics, by existing labels', async () => {
    const known = await exposed()
    const asked = new Set(queries.flatMap(namesIn))
    expect([...asked].filter(name => !known.has(name))).toEqual([])
    const labels = queries.flatMap(query =>
      [...query.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(', ')),
    )
    expect([...new Set(labels)].sort()).toEqual([
      'instance',
      'le',
      'reason',
      'rule',
      'scope',
      'store',
      'tier',
    ])
  })

  it('has panels with unique ids that do not overlap', () => {
    const { panels } = dashboard
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, index) => `${x + (index % w)},${y + Math.floor(index / w)}`),
    )
    expect(new Set(cells).size).toBe(cells.length)
    expect(Math.max(...panels.map(({ gridPos: { x, w } }) => x + w))).toBe(24)
    expect(dashboard.templating.list.map(({ name }) => name)).toEqual(['datasource', 'job', 'instance'])
  })
})
