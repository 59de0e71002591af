import * as z from 'zod'
import { findPolicyWarnings, redact } from '../../policy/index.ts'
import { hasRole } from '../access/roles.ts'
import { policyAppliedAtMs, policyEtag } from '../policy-etag.ts'
import { diffPolicies, type OverlayVersion, removeRule, setPolicyShadow, setRule } from '../policy-overlay.ts'
import { AdminProblem } from '../problem.ts'
import { defineRoute, type Route, type RouteContext } from '../route.ts'
import type { RouteAnswer } from '../route-answer.ts'
import { reasonSchema } from '../schemas/common.ts'
import {
  diffSchema,
  overlayBodySchema,
  overlayChangeSchema,
  policyChangedSchema,
  policySchema,
  policyShadowBodySchema,
  policyVersionsSchema,
  reloadBodySchema,
  rollbackBodySchema,
  ruleBodySchema,
  rulesBodySchema,
  validationSchema,
} from '../schemas/policy.ts'
import { rulePathSchema } from '../schemas/rules.ts'

const CHANGED = { description: 'It is in force.', schema: policyChangedSchema }

const get = defineRoute({
  method: 'GET',
  path: '/policy',
  role: 'viewer',
  summary: 'The policy in force, without its secrets',
  answers: {
    200: { description: 'The policy.', schema: policySchema },
    304: { description: 'It has not changed.' },
  },
  async handle(_input, { state, caller, header }) {
    const { gate, overlay } = state
    const { policy } = gate
    const etag = policyEtag(gate)
    const headers = { etag: `"${etag}"` }
    if (header('if-none-match') === headers.etag) return { status: 304, headers }
    const file = state.policy?.overlay
    const body = {
      etag,
      appliedAtMs: policyAppliedAtMs(gate, state.startedAtMs),
      files: policy?.files ?? [],
      document: policy === undefined ? null : redact(policy.document),
      warnings: policy === undefined ? [] : findPolicyWarnings(policy),
      overlay:
        file === undefined || overlay === undefined
          ? null
          : { file, text: hasRole(caller.role, 'admin') ? await overlay.read() : null },
    }
    return { body, headers }
  },
})

const validate = defineRoute({
  method: 'POST',
  path: '/policy/validate',
  role: 'viewer',
  summary: 'Checks the policy as it would be with an overlay',
  body: overlayBodySchema,
  answers: { 200: { description: 'Its problems, with positions.', schema: validationSchema } },
  async handle({ body }, { state }) {
    const { problems, warnings } = await overlayOf(state).validate(body.overlay)
    return { body: { ok: problems.length === 0, problems, warnings } }
  },
})

const diff = defineRoute({
  method: 'POST',
  path: '/policy/diff',
  role: 'viewer',
  summary: 'What an overlay would change',
  body: overlayBodySchema,
  answers: { 200: { description: 'Changes.', schema: diffSchema } },
  async handle({ body }, { state }) {
    return { body: diffPolicies(state.gate.policy, await overlayOf(state).load(body.overlay)) }
  },
})

const versions = defineRoute({
  method: 'GET',
  path: '/policy/versions',
  role: 'viewer',
  summary: 'Versions of the overlay, the newest first',
  answers: { 200: { description: 'Versions.', schema: policyVersionsSchema } },
  async handle(_input, { state }) {
    const all = await overlayOf(state).versions()
    return { body: { versions: all.map(({ id, atMs, by, reason }) => ({ id, atMs, by, reason })) } }
  },
})

const put = defineRoute({
  method: 'PUT',
  path: '/policy/overlay',
  role: 'admin',
  summary: 'Replaces the overlay: writes its file and puts it in force; needs If-Match',
  body: overlayChangeSchema,
  answers: { 200: CHANGED },
  handle: ({ body: { overlay, reason } }, context) => {
    const expected = context.header('if-match')
    if (expected === undefined) throw new AdminProblem(428, 'send If-Match with the ETag of GET /policy')
    return changeOverlay(context, reason, () => {
      const etag = policyEtag(context.state.gate)
      if (expected !== '*' && expected !== `"${etag}"` && expected !== etag)
        throw new AdminProblem(412, 'the policy has changed: read it again', {
          headers: { etag: `"${etag}"` },
        })
      return overlay
    })
  },
})

const putShadow = defineRoute({
  method: 'PUT',
  path: '/policy/shadow',
  role: 'admin',
  summary: 'Sets `shadow` of the policy in the overlay',
  body: policyShadowBodySchema,
  answers: { 200: CHANGED },
  handle: ({ body: { shadow, reason } }, context) =>
    changeOverlay(context, reason, text => setPolicyShadow(text, shadow)),
})

const rollback = defineRoute({
  method: 'POST',
  path: '/policy/rollback',
  role: 'admin',
  summary: 'Puts an earlier version of the overlay in force, as a new version',
  body: rollbackBodySchema,
  answers: { 200: CHANGED },
  async handle({ body: { to, reason } }, context) {
    const version = (await overlayOf(context.state).versions()).find(({ id }) => id === to)
    if (version === undefined) throw new AdminProblem(404, `there is no version ${to}`)
    return changeOverlay(context, reason, () => version.text)
  },
})

const reload = defineRoute({
  method: 'POST',
  path: '/policy/reload',
  role: 'admin',
  summary: 'Reads the policy files again and puts them in force',
  body: reloadBodySchema,
  answers: { 200: CHANGED },
  async handle({ body: { reason } }, context) {
    const { state } = context
    if (state.policy === undefined) throw new AdminProblem(409, 'this policy has no files to reload')
    const before = policyEtag(state.gate)
    await state.policy.reload()
    return recordChange(context, reason, before, undefined)
  },
})

const addRules = defineRoute({
  method: 'POST',
  path: '/rules',
  role: 'admin',
  summary: 'Adds several rules to the overlay, all or none',
  body: rulesBodySchema,
  answers: { 200: CHANGED },
  handle({ body: { reason, rules } }, context) {
    const names = new Set<string>()
    for (const { name } of rules) {
      if (names.has(name)) throw new AdminProblem(400, `two rules have the name ${JSON.stringify(name)}`)
      checkIsNew(context, name)
      names.add(name)
    }
    return changeOverlay(context, reason, text =>
      rules.reduce((changed, { name, ...fields }) => setRule(changed, name, fields), text),
    )
  },
})

const addRule = defineRoute({
  method: 'POST',
  path: '/rules/{name}',
  role: 'admin',
  summary: 'Adds a rule to the overlay',
  params: rulePathSchema,
  body: ruleBodySchema,
  answers: { 200: CHANGED },
  handle({ params: { name }, body: { reason, ...fields } }, context) {
    checkIsNew(context, name)
    checkName(name, fields)
    return changeOverlay(context, reason, text => setRule(text, name, fields))
  },
})

const changeRule = defineRoute({
  method: 'PUT',
  path: '/rules/{name}',
  role: 'admin',
  summary: 'Changes fields of a rule, such as limit, enabled, shadow',
  params: rulePathSchema,
  body: ruleBodySchema,
  answers: { 200: CHANGED },
  handle({ params: { name }, body: { reason, ...fields } }, context) {
    if (!ruleInPolicy(context, name)) throw noRule(name)
    checkName(name, fields)
    return changeOverlay(context, reason, text => setRule(text, name, fields))
  },
})

const deleteRule = defineRoute({
  method: 'DELETE',
  path: '/rules/{name}',
  role: 'admin',
  summary: 'Removes a rule of the overlay; one of the policy files can only be disabled',
  params: rulePathSchema,
  query: z.object({ reason: reasonSchema }),
  answers: { 200: CHANGED },
  handle({ params: { name }, query: { reason } }, context) {
    if (!ruleInPolicy(context, name)) throw noRule(name)
    return changeOverlay(context, reason, async text => {
      const without = removeRule(text, name)
      const { document } = await overlayOf(context.state).load(without)
      if (!document.rules?.some(rule => rule.name === name)) return without
      throw new AdminProblem(409, 'the rule is in a policy file: PUT {"enabled": false} disables it')
    })
  },
})

function checkIsNew(context: RouteContext, name: string): void {
  if (!context.state.gate.rules().includes(name) && !ruleInPolicy(context, name)) return
  const remedy = 'choose another name; PUT changes the rule'
  throw new AdminProblem(409, `there is a rule ${JSON.stringify(name)} already (${remedy})`)
}

function checkName(name: string, fields: Readonly<Record<string, unknown>>): void {
  if (fields.name !== undefined && fields.name !== name)
    throw new AdminProblem(400, 'the name in the body is not that of the path')
}

function overlayOf({ overlay }: RouteContext['state']): NonNullable<RouteContext['state']['overlay']> {
  if (overlay === undefined) throw new AdminProblem(409, 'this policy has no files')
  return overlay
}

function ruleInPolicy({ state }: RouteContext, name: string): boolean {
  return state.gate.policy?.document.rules?.some(rule => rule.name === name) ?? false
}

function noRule(name: string): AdminProblem {
  return new AdminProblem(404, `there is no rule ${JSON.stringify(name)} in the policy`)
}

async function changeOverlay(
  context: RouteContext,
  reason: string,
  edit: (text: string) => string | Promise<string>,
): Promise<RouteAnswer> {
  const { state, caller } = context
  const before = policyEtag(state.gate)
  const change = { atMs: state.gate.clock.now(), by: caller.name, reason }
  const version = await overlayOf(state).change(edit, change)
  return recordChange(context, reason, before, version)
}

async function recordChange(
  { state, caller, ip }: RouteContext,
  reason: string,
  before: string,
  version: OverlayVersion | undefined,
): Promise<RouteAnswer> {
  const etag = policyEtag(state.gate)
  state.audit.record({
    kind: 'policy',
    action: 'changed',
    id: version === undefined ? 'files' : `version ${version.id}`,
    atMs: state.gate.clock.now(),
    by: caller.name,
    ip,
    reason,
    before: { etag: before },
    note: { etag },
  })
  await state.audit.written()
  return { body: { etag, version: version?.id ?? null }, headers: { etag: `"${etag}"` } }
}

export const POLICY_ROUTES: readonly Route[] = [
  ...[get, validate, diff, versions, put, putShadow, rollback, reload],
  ...[addRules, addRule, changeRule, deleteRule],
]
