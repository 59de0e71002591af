import type { Analytics } from '../../analytics/analytics.ts'
import { sumOf } from '../../analytics/rule-counters.ts'
import { clusterSnapshot } from '../../analytics/snapshot-exporter.ts'
import { readVersion } from '../../core/package-files.ts'
import { parseDuration } from '../../core/units.ts'
import { hasRole } from '../access/roles.ts'
import { policyAppliedAtMs, policyEtag } from '../policy-etag.ts'
import { AdminProblem } from '../problem.ts'
import { defineRoute, type Route } from '../route.ts'
import {
  alertsSchema,
  auditQuerySchema,
  auditSchema,
  checksSchema,
  type Status,
  type Summary,
  seriesQuerySchema,
  seriesSchema,
  statusSchema,
  summaryQuerySchema,
  summarySchema,
} from '../schemas/overview.ts'
import { runServerChecks } from '../server-checks.ts'
import type { AdminState } from '../state/admin-state.ts'
import { SERIES_STEPS } from '../state/decision-series.ts'

const version = readVersion()

const status = defineRoute({
  method: 'GET',
  path: '/status',
  role: 'viewer',
  summary: 'State of the node',
  answers: { 200: { description: 'State.', schema: statusSchema } },
  async handle(_input, { state, caller }) {
    const { gate, broker } = state
    const stats = broker?.stats()
    const body: Status = {
      version,
      node: state.node,
      startedAtMs: state.startedAtMs,
      uptimeMs: gate.clock.now() - state.startedAtMs,
      role: caller.role,
      caller: caller.name,
      policy: {
        etag: policyEtag(gate),
        rules: gate.rules().length,
        appliedAtMs: policyAppliedAtMs(gate, state.startedAtMs),
        editable: state.policy?.overlay !== undefined,
      },
      store: await readStore(state),
      load: state.scaled ?? null,
      connections: stats?.connections ?? null,
      held: stats?.held ?? null,
      p95Ms: state.p95Ms() ?? null,
      streams: state.events.readers,
      alerts: state.alerts.active().length,
      nodes: [...(await state.nodes())],
      listeners: [...state.listeners],
      entries: {
        bans: gate.bans.size,
        overrides: gate.overrides.size,
        exemptions: gate.exemptions.size,
        tiers: gate.tiers.size,
      },
    }
    return { body }
  },
})

async function readStore(admin: AdminState): Promise<Status['store']> {
  const health = await admin.readStoreHealth()
  const { ok, state, fallback, keys, evictions, overflows, detail, warnings } = health
  return {
    name: admin.gate.store.name,
    ok,
    state,
    fallback,
    keys,
    evictions,
    overflows,
    detail,
    warnings: warnings && [...warnings],
  }
}

const checks = defineRoute({
  method: 'GET',
  path: '/checks',
  role: 'viewer',
  summary: 'Checks of the node for topicgate doctor; for operators with a test of the webhook',
  answers: { 200: { description: 'Results.', schema: checksSchema } },
  async handle(_input, { state, caller }) {
    const sendsTests = hasRole(caller.role, 'operator')
    return { body: { checks: [...(await runServerChecks(state, { sendsTests }))] } }
  },
})

const summary = defineRoute({
  method: 'GET',
  path: '/summary',
  role: 'viewer',
  summary: 'Decisions of the last hour, day or week',
  query: summaryQuerySchema,
  answers: { 200: { description: 'Totals, block rate, most refused.', schema: summarySchema } },
  async handle({ query: { range, nodes } }, { state }) {
    if (nodes === 'self') {
      const groups = groupDecisions(state.analytics)
      return { body: { ...state.analytics.snapshot(range), groups, nodes, covered: [state.node] } }
    }
    if (state.snapshots === undefined)
      throw new AdminProblem(409, 'no store holds the analytics of all nodes: set --analytics-store')
    const snapshot = await clusterSnapshot(state.snapshots, range, state.gate.clock)
    const covered = new Set((await state.snapshots.list()).map(({ node }) => nodeOf(node)))
    return { body: { ...snapshot, nodes, covered: [...covered] } }
  },
})

interface DecisionGroup {
  readonly name: string
  total: number
  blocked: number
}

/** Sums up the decisions by tier and by scope, those with the most first. */
function groupDecisions(analytics: Analytics): NonNullable<Summary['groups']> {
  const [tiers, scopes] = [new Map<string, DecisionGroup>(), new Map<string, DecisionGroup>()]
  for (const { rule, tier, allowed, blocked } of analytics.series()) {
    const refused = sumOf(blocked)
    const total = sumOf(allowed) + refused
    for (const [groups, name] of [[tiers, tier] as const, [scopes, analytics.scopeOf(rule)] as const]) {
      const group = groups.get(name) ?? { name, total: 0, blocked: 0 }
      groups.set(name, group)
      group.total += total
      group.blocked += refused
    }
  }
  const list = (groups: ReadonlyMap<string, DecisionGroup>): DecisionGroup[] =>
    [...groups.values()].filter(({ total }) => total > 0).sort((a, b) => b.total - a.total)
  return { tiers: list(tiers), scopes: list(scopes) }
}

/** Returns the node of a stored record, whose name ends in its span: `node/hour/0`. */
function nodeOf(record: string): string {
  return record.split('/').slice(0, -2).join('/')
}

const series = defineRoute({
  method: 'GET',
  path: '/series',
  role: 'viewer',
  summary: 'Decisions by second or by ten seconds',
  query: seriesQuerySchema,
  answers: { 200: { description: 'Points.', schema: seriesSchema } },
  handle({ query }, { state }) {
    const rule = query.of === 'total' ? undefined : query.of.slice('rule:'.length)
    if (rule !== undefined && !state.gate.rules().includes(rule))
      throw new AdminProblem(404, `there is no rule ${JSON.stringify(rule)}`)
    const step = rule === undefined ? query.step : '10s'
    const sinceMs = state.gate.clock.now() - parseDuration(query.for)
    const points = rule === undefined ? state.series.total(step, sinceMs) : state.series.rule(rule, sinceMs)
    return { body: { of: query.of, stepMs: SERIES_STEPS[step].ms, points } }
  },
})

const alerts = defineRoute({
  method: 'GET',
  path: '/alerts',
  role: 'viewer',
  summary: 'Alerts that fire now, and those resolved last',
  answers: { 200: { description: 'Alerts.', schema: alertsSchema } },
  handle(_input, { state }) {
    return { body: { firing: state.alerts.active(), resolved: state.resolvedAlerts } }
  },
})

const audit = defineRoute({
  method: 'GET',
  path: '/audit',
  role: 'viewer',
  summary: 'Changes with author, address, reason, before and after',
  query: auditQuerySchema,
  answers: { 200: { description: 'Records, the newest first.', schema: auditSchema } },
  handle({ query }, { state }) {
    return { body: { records: state.audit.list(query) } }
  },
})

export const OVERVIEW_ROUTES: readonly Route[] = [status, checks, summary, series, alerts, audit]
