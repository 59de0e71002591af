import { AdminProblem } from '../problem.ts'
import { defineRoute, type Route } from '../route.ts'
import { metricsResetBodySchema, resetBodySchema, resetSchema } from '../schemas/resets.ts'
import { findSenderCounters } from '../sender-card.ts'
import { parseSenderId } from '../sender-id.ts'
import type { AdminState } from '../state/admin-state.ts'

const reset = defineRoute({
  method: 'POST',
  path: '/reset',
  role: 'admin',
  summary: 'Forgets the counts of a rule, of a sender, or all',
  body: resetBodySchema,
  answers: { 200: { description: 'They are forgotten.', schema: resetSchema } },
  async handle({ body: { rule, sender, confirm, reason } }, { state, caller, ip }) {
    if (rule === undefined && sender === undefined && confirm !== 'all')
      throw new AdminProblem(400, 'to forget every count of every rule, send "confirm": "all"')
    checkRule(state, rule)
    const keys =
      sender === undefined ? await state.gate.reset({ rule }) : await resetSender(state, sender, rule)
    state.audit.record({
      kind: 'counters',
      action: 'reset',
      id: [sender, rule].filter(part => part !== undefined).join(' ') || 'all',
      atMs: state.gate.clock.now(),
      by: caller.name,
      ip,
      reason,
      note: { keys },
    })
    await state.audit.written()
    return { body: { keys } }
  },
})

/** Forgets the counters that belong to a sender alone, of one rule or all. Returns the number of keys. */
async function resetSender(state: AdminState, id: string, rule: string | undefined): Promise<number> {
  const name = parseSenderId(id)
  if (name === undefined) throw new AdminProblem(400, 'write a part and a value, as client:d7')
  let keys = 0
  for (const counter of await findSenderCounters(state, name)) {
    if (rule === undefined || counter.rule === rule) keys += await state.gate.reset(counter)
  }
  return keys
}

const resetMetrics = defineRoute({
  method: 'POST',
  path: '/metrics/reset',
  role: 'admin',
  summary: 'Sets the counts of a rule, or of all rules, to zero; the history stays',
  body: metricsResetBodySchema,
  answers: { 204: { description: 'They are zero.' } },
  async handle({ body: { rule, reason } }, { state, caller, ip }) {
    checkRule(state, rule)
    const before = state.analytics.totals()
    state.analytics.reset(rule)
    const [atMs, by] = [state.gate.clock.now(), caller.name]
    state.audit.record({ kind: 'metrics', action: 'reset', id: rule ?? 'all', atMs, by, ip, reason, before })
    await state.audit.written()
    return { status: 204 }
  },
})

function checkRule({ gate }: AdminState, rule: string | undefined): void {
  if (rule !== undefined && !gate.rules().includes(rule))
    throw new AdminProblem(404, `there is no rule ${JSON.stringify(rule)}`)
}

export const RESET_ROUTES: readonly Route[] = [reset, resetMetrics]
