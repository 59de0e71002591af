import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt, ROOT } from '../support/built.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startPrometheus } from '../support/prometheus.ts'
import { until } from '../support/wait.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

const POLICY = `
version: 1
rules:
  - { name: all, topic: t/#, per: client, limit: 5/day, exceeded: drop }
  - { name: trial, topic: t/#, per: client, limit: 2/day, shadow: true }
`

/** Returns the queries of the dashboard for all jobs and instances. */
function dashboardQueries(): readonly string[] {
  const { panels } = JSON.parse(readFileSync(join(ROOT, 'config/grafana/topicgate.json'), 'utf8')) as {
    readonly panels: readonly { readonly targets?: readonly { readonly expr: string }[] }[]
  }
  return panels
    .flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
    .map(expr => expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$(?:job|instance)/g, '.*'))
}

it('Prometheus reads outcomes, refusals in shadow and the state of the policy from a broker', async () => {
  using folder = new Folder()
  const policy = folder.file('policy.yaml', POLICY)
  await using broker = startCommand('broker', policy, '--port', '0', '--health', '0')
  const { port, msg } = await logged(broker, /ready/)
  const [, target] = String(msg).match(/http:\/\/(\S+)\/ready/)!
  await using prometheus = await startPrometheus(target!)
  /** Waits until Prometheus has read a value, and returns its labels. */
  const read = (expression: string, value: number): Promise<readonly object[]> =>
    until(
      async () => {
        const samples = await prometheus.query(expression)
        const isRead = samples.length > 0 && samples.every(sample => Number(sample.value[1]) === value)
        return isRead ? samples.map(({ metric }) => metric) : undefined
      },
      { what: `${expression} to be ${value}` },
    )
  await read('topicgate_policy_last_reload_successful', 1)

  await using client = await connectClient({ port: Number(port), clientId: 'busy' })
  for (let count = 0; count < 20; count++) await client.publish('t/1', 'x', { qos: 1 })
  const common = { job: 'topicgate', instance: target }
  expect(await read('topicgate_outcomes_total{outcome="drop"}', 15)).toEqual([
    { __name__: 'topicgate_outcomes_total', rule: 'all', outcome: 'drop', ...common },
  ])
  expect(await read('topicgate_shadow_total', 18)).toEqual([
    { __name__: 'topicgate_shadow_total', rule: 'trial', ...common },
  ])
  await read('topicgate_outcomes_total{rule="all",outcome="deliver"}', 5)
  await read('topicgate_runtime_entries{kind="ban"}', 0)

  // Prometheus finds labels that do not match only when it evaluates a query.
  const results = await Promise.all(dashboardQueries().map(query => prometheus.query(query)))
  expect(results.filter(samples => samples.length > 0).length).toBeGreaterThan(10)

  folder.file('policy.yaml', POLICY.replace('5/day', 'much'))
  await read('topicgate_policy_refused_total', 1)
  // The alert is pending for a minute before it fires.
  expect(await read('ALERTS{alertname="TopicgatePolicyRefused"}', 1)).toMatchObject([
    { alertstate: 'pending', severity: 'warning' },
  ])
})
