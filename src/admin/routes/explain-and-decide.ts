import type { Decision } from '../../core/decision.ts'
import type { MaybePromise } from '../../core/message.ts'
import { CapturedMessage } from '../../core/message-from-fields.ts'
import type { Gate } from '../../gate/gate.ts'
import { redact } from '../../policy/index.ts'
import { validPattern, validTopic } from '../../topic/pattern.ts'
import { hasRole } from '../access/roles.ts'
import { AdminProblem } from '../problem.ts'
import { defineRoute, type Route, type RouteContext } from '../route.ts'
import {
  type AdminMessageBody,
  decideBatchBodySchema,
  decideBatchSchema,
  decideBodySchema,
  decisionSchema,
  explanationSchema,
  messageSchema,
} from '../schemas/explain-and-decide.ts'

const explain = defineRoute({
  method: 'POST',
  path: '/explain',
  role: 'viewer',
  summary: 'Every step of the decision about a message, with the live counts; charges nothing',
  body: messageSchema,
  answers: { 200: { description: 'The steps.', schema: explanationSchema } },
  async handle({ body }, { state: { gate } }) {
    const explanation = await gate.explain(createMessage(body, gate))
    const { client, user, device, ip, roles, tier } = explanation.sender
    // Exemptions and rules contain the secrets and API keys that they compare with.
    const exemptions = explanation.exemptions.map(each => ({ ...each, options: redact(each.options) }))
    const skipped = explanation.skipped.map(redact)
    return {
      body: { ...explanation, sender: { client, user, device, ip, roles, tier }, exemptions, skipped },
    }
  },
})

const decide = defineRoute({
  method: 'POST',
  path: '/decide',
  role: 'viewer',
  summary: 'A decision about a message, charged unless `commit` is false',
  body: decideBodySchema,
  answers: { 200: { description: 'The decision.', schema: decisionSchema } },
  async handle({ body: { commit, ...message } }, context) {
    checkCommit(commit, context)
    return {
      body: toDecisionJson(await decideMessage(context.state.gate, message, commit), context.state.gate),
    }
  },
})

const decideBatch = defineRoute({
  method: 'POST',
  path: '/decide/batch',
  role: 'viewer',
  summary: 'Decisions about messages, in their order',
  body: decideBatchBodySchema,
  answers: { 200: { description: 'The decisions.', schema: decideBatchSchema } },
  async handle({ body: { messages, commit } }, context) {
    checkCommit(commit, context)
    const { gate } = context.state
    const decisions: object[] = []
    for (const message of messages)
      decisions.push(toDecisionJson(await decideMessage(gate, message, commit), gate))
    return { body: { decisions } }
  },
})

/** Charging is a change: with a viewer's token anyone could use up the units of a client. */
function checkCommit(commit: boolean, { caller }: RouteContext): void {
  if (!commit || hasRole(caller.role, 'operator')) return
  throw new AdminProblem(403, 'charging needs the role operator; send "commit": false to look only')
}

function decideMessage(gate: Gate, input: AdminMessageBody, commit: boolean): MaybePromise<Decision> {
  const message = createMessage(input, gate)
  return commit ? gate.check(message) : gate.explain(message).then(({ decision }) => decision)
}

function createMessage(input: AdminMessageBody, { dialect }: Gate): CapturedMessage {
  const { topic, on } = input
  const isValid =
    on === 'connect' ||
    on === 'accept' ||
    (on === 'subscribe' ? validPattern(topic, dialect) : validTopic(topic, dialect))
  if (isValid) return new CapturedMessage(input, dialect)
  const noun = on === 'subscribe' ? 'filter' : 'topic'
  const message = `${JSON.stringify(topic.slice(0, 100))} is not a ${noun} of ${dialect}`
  throw new AdminProblem(422, message, { problems: [{ path: 'topic', message }] })
}

/** JSON has no Infinity: null is never. */
function toDecisionJson(decision: Decision, gate: Gate): object {
  const { rule, limit, retryAfterMs, resetMs } = decision
  return {
    ...decision,
    unit: limit === undefined ? undefined : gate.ruleOf(rule)?.unit,
    retryAfterMs: Number.isFinite(retryAfterMs) ? retryAfterMs : null,
    resetMs: resetMs === Infinity ? null : resetMs,
  }
}

export const EXPLAIN_AND_DECIDE_ROUTES: readonly Route[] = [explain, decide, decideBatch]
