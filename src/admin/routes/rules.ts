import { NO_VIOLATIONS, type RuleMetrics } from '../../analytics/rule-counters.ts'
import { describeKey } from '../../chain/rules/key-scope.ts'
import { pageOf } from '../page.ts'
import { AdminProblem } from '../problem.ts'
import { defineRoute, type Route } from '../route.ts'
import {
  keysQuerySchema,
  keysSchema,
  type RuleDetail,
  ruleDetailSchema,
  rulePathSchema,
  rulesQuerySchema,
  rulesSchema,
} from '../schemas/rules.ts'
import type { AdminState } from '../state/admin-state.ts'

const list = defineRoute({
  method: 'GET',
  path: '/rules',
  role: 'viewer',
  summary: 'Rules with their counts',
  query: rulesQuerySchema,
  answers: { 200: { description: 'A page of rules.', schema: rulesSchema } },
  handle({ query }, { state }) {
    const metrics = new Map(state.analytics.rules().map(each => [each.rule, each]))
    const { items, total, next } = pageOf(state.gate.rules(), query, name => name)
    const rules = items.map(name => {
      const { violations: _, ...rule } = describeRule(state, name, metrics.get(name))
      return rule
    })
    return { body: { rules, total, next } }
  },
})

const one = defineRoute({
  method: 'GET',
  path: '/rules/{name}',
  role: 'viewer',
  summary: 'A rule with its counts, and who exceeds it most',
  params: rulePathSchema,
  answers: { 200: { description: 'The rule.', schema: ruleDetailSchema } },
  handle({ params: { name } }, { state }) {
    if (!state.gate.rules().includes(name))
      throw new AdminProblem(404, `there is no rule ${JSON.stringify(name)}`)
    const metrics = state.analytics.rules().find(({ rule }) => rule === name)
    return { body: describeRule(state, name, metrics) }
  },
})

const keys = defineRoute({
  method: 'GET',
  path: '/rules/{name}/keys',
  role: 'viewer',
  summary: 'Counters of a rule with the least units left; a bounded scan',
  params: rulePathSchema,
  query: keysQuerySchema,
  answers: { 200: { description: 'Counters.', schema: keysSchema } },
  handle({ params: { name }, query: { limit, cursor } }, { state: { gate } }) {
    const rule = gate.ruleOf(name)
    if (rule === undefined) throw new AdminProblem(404, `there is no rule ${JSON.stringify(name)}`)
    const scanned = gate.store.scan?.(name, cursor, gate.clock.now())
    if (scanned === undefined)
      throw new AdminProblem(409, `the ${gate.store.name} store cannot list its keys; only memory can`)
    const { capacity, per } = rule
    const least = scanned.keys.toSorted((a, b) => a.remaining - b.remaining).slice(0, limit)
    const described = least.map(({ key, remaining, resetMs }) => ({
      // API keys are secrets.
      counter: per.includes('apiKey') ? per.join(', ') : describeKey(per, key),
      used: Math.max(0, capacity - remaining),
      remaining,
      resetMs,
    }))
    const { next = null } = scanned
    return { body: { keys: described, unit: rule.unit, partial: next !== null || cursor > 0, next } }
  },
})

function describeRule(
  { gate, policy }: AdminState,
  name: string,
  metrics: RuleMetrics | undefined,
): RuleDetail {
  const info = gate.ruleOf(name)!
  const { exceeded } = info
  const written = gate.policy?.document.rules?.find(rule => rule.name === name)
  const { clients, users, ips, topics } = metrics?.violations ?? NO_VIOLATIONS
  return {
    name,
    description: info.description,
    enabled: written?.enabled !== false,
    editable: written !== undefined && policy?.overlay !== undefined,
    observed: info.isShadow,
    shadowShare: info.shadowShare,
    on: info.on,
    pattern: info.pattern,
    count: finiteOrNull(info.count),
    periodMs: info.periodMs,
    capacity: finiteOrNull(info.capacity),
    unit: info.unit,
    per: info.per,
    algorithm: info.algorithm,
    outcome: exceeded.outcome,
    isSelective: info.isSelective,
    total: metrics?.total ?? 0,
    allowed: metrics?.allowed ?? 0,
    denied: metrics?.denied ?? 0,
    shadow: metrics?.shadowRefusals ?? 0,
    hitRate: metrics?.hitRate ?? 0,
    meanRemaining: metrics?.meanRemaining ?? null,
    violations: {
      clients: { error: clients.error, list: [...clients.list] },
      users: { error: users.error, list: [...users.list] },
      ips: { error: ips.error, list: [...ips.list] },
      topics: { error: topics.error, list: [...topics.list] },
    },
  }
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null
}

export const RULE_ROUTES: readonly Route[] = [list, one, keys]
