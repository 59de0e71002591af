import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse, stringify } from 'yaml'
import type { MetricFamily } from '../../../src/metrics/metric-family.ts'
import { ROOT } from '../../support/built.ts'
import { exportedMetrics, gatewayMetrics } from './exported-metrics.ts'
import { findGroupingLabels, findMetricNames } from './promql-names.ts'
import { promtool } from './promtool.ts'

const text = (path: string): string => readFileSync(join(ROOT, 'config', path), 'utf8')

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  /** Absent in the head of a row. */
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[]
}

const dashboard = JSON.parse(text('grafana/topicgate.json')) as {
  readonly uid: string
  readonly templating: { readonly list: readonly { readonly name: string }[] }
  readonly annotations: { readonly list: readonly { readonly name: string; readonly expr: string }[] }
  readonly panels: readonly Panel[]
}
const queries = [
  ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
  ...dashboard.annotations.list.map(({ expr }) => expr),
]

interface Rule {
  readonly alert?: string
  readonly record?: string
  readonly expr: string
  readonly labels?: { readonly severity: string }
}
const rules = (
  parse(text('prometheus/topicgate.rules.yml')) as { groups: { rules: Rule[] }[] }
).groups.flatMap(group => group.rules)

let families: readonly MetricFamily[]
/** Those and the metrics of gateways. */
let all: readonly MetricFamily[]
let folder: string
beforeAll(async () => {
  families = await exportedMetrics()
  all = [...families, ...(await gatewayMetrics())]
  folder = mkdtempSync(join(tmpdir(), 'topicgate-promtool-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Returns a file that a container can read, too. */
function copied(name: string, content: string): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

/** Returns the series that a query can select: those of all metrics, and those that rules record. */
function knownSeries(): ReadonlySet<string> {
  return new Set([
    ...all.flatMap(({ name, type }) =>
      type === 'histogram' ? ['_bucket', '_sum', '_count'].map(end => name + end) : [name],
    ),
    ...rules.flatMap(({ record }) => record ?? []),
  ])
}

function unknownNames(expressions: readonly string[]): readonly string[] {
  const known = knownSeries()
  return expressions.flatMap(findMetricNames).filter(name => !known.has(name))
}

function unknownLabels(expressions: readonly string[]): readonly string[] {
  const labels = all.flatMap(({ samples }) => samples.flatMap(each => Object.keys(each.labels)))
  const known = new Set([...labels, 'le', 'job', 'instance'])
  return expressions.flatMap(findGroupingLabels).filter(label => !known.has(label))
}

describe('the names in a query', () => {
  it('are those of metrics, without functions, labels, keywords and durations', () => {
    const query = `topk(10, sum by (rule, a_b) (rate(x_total{job=~"$job",y="z{\\"} x"}[5m]))) / on (job)
      group_left(c) (a:b:rate5m{q="a and b"} > bool 1e3) or vector(0) unless time() - max without(d) (e offset 5m)`
    expect(findMetricNames(query)).toEqual(['x_total', 'a:b:rate5m', 'e'])
    expect(findGroupingLabels(query)).toEqual(['rule', 'a_b', 'job', 'c', 'd'])
  })
})

describe('the exported metrics', () => {
  it('all have a sample, so that their labels are known', () => {
    const empty = families.filter(({ samples, histogram }) => samples.length === 0 && histogram === undefined)
    expect(empty.map(({ name }) => name)).toEqual([])
  })

  it('are those of the table in docs/metrics.md, with type and labels', () => {
    const page = readFileSync(join(ROOT, 'docs/metrics.md'), 'utf8')
    const documented = [...page.matchAll(/^\| `\w+` \| `(topicgate_\w+)` \| (\w+) \|([^|]*)\|/gm)]
    const exported = families.map(({ name, type, samples }) => [
      name,
      type,
      [...new Set(samples.flatMap(({ labels }) => Object.keys(labels)))].join(', '),
    ])
    expect(documented.map(([, name, type, labels = '']) => [name, type, labels.trim()])).toEqual(exported)
  })
})

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
    copied('topicgate.rules.yml', text('prometheus/topicgate.rules.yml'))
    const tests = copied('topicgate.rules.test.yml', text('prometheus/topicgate.rules.test.yml'))
    const { fine, said } = promtool(['test', 'rules', tests])
    expect(fine, said).toBe(true)
  })

  it('each have a test in which they fire and one in which they do not', () => {
    interface AlertTest {
      readonly alertname: string
      readonly exp_alerts: readonly object[]
    }
    const { tests } = parse(text('prometheus/topicgate.rules.test.yml')) as {
      readonly tests: readonly { readonly alert_rule_test: readonly AlertTest[] }[]
    }
    const tested = tests.flatMap(({ alert_rule_test }) => alert_rule_test)
    const alerts = rules.flatMap(({ alert }) => alert ?? [])
    for (const fires of [true, false]) {
      const matching = tested.filter(({ exp_alerts }) => exp_alerts.length > 0 === fires)
      expect([...new Set(matching.map(({ alertname }) => alertname))].sort()).toEqual([...alerts].sort())
    }
  })

  it('use only existing metrics and labels', () => {
    const expressions = rules.map(({ expr }) => expr)
    expect(unknownNames(expressions)).toEqual([])
    expect(unknownLabels(expressions)).toEqual([])
  })

  it('are the alerts that docs/metrics.md lists', () => {
    const page = readFileSync(join(ROOT, 'docs/metrics.md'), 'utf8')
    const listed = [...page.matchAll(/^\| `(Topicgate\w+)` \| (\w+) \|/gm)].map(([, name, severity]) => [
      name,
      severity,
    ])
    expect(listed).toEqual(rules.flatMap(({ alert, labels }) => (alert ? [[alert, labels?.severity]] : [])))
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

  it('queries only existing metrics, by existing labels', () => {
    expect(unknownNames(queries)).toEqual([])
    expect(unknownLabels(queries)).toEqual([])
    const legends = dashboard.panels.flatMap(({ targets = [] }) =>
      targets.flatMap(({ expr, legendFormat }) =>
        [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => ({ label, expr })),
      ),
    )
    const missing = legends.filter(
      ({ label, expr }) => !findGroupingLabels(expr).includes(label!) && /\b(sum|min|max|count)\b/.test(expr),
    )
    expect(missing).toEqual([])
  })

  it('shows every metric but the bytes held', () => {
    const shown = new Set(queries.flatMap(findMetricNames))
    const hidden = all.filter(({ name }) => !shown.has(name) && !shown.has(`${name}_bucket`))
    expect(hidden.map(({ name }) => name)).toEqual(['topicgate_guard_held_bytes'])
  })

  it('describes each panel, and has a row for each area', () => {
    const panels = dashboard.panels.filter(({ type }) => type !== 'row')
    expect(panels.filter(({ description = '' }) => !/^[A-Z0-9].+\.$/.test(description))).toEqual([])
    expect(dashboard.panels.filter(({ type }) => type === 'row').map(({ title }) => title)).toEqual([
      'Outcomes',
      'Shadow',
      'Adaptive factor and breakers',
      'Runtime entries and policy',
      'Gateway',
    ])
  })

  it('marks the time at which a policy was applied', () => {
    // Grafana takes milliseconds.
    expect(dashboard.annotations.list).toMatchObject([
      {
        name: 'Policy applied',
        expr: expect.stringMatching(/^topicgate_policy_applied_timestamp_seconds\{.*\} \* 1000$/),
        useValueForTime: true,
      },
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
