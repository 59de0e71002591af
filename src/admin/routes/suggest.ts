import { AdminProblem } from '../problem.ts'
import { defineRoute, type Route } from '../route.ts'
import { suggestionSchema, suggestQuerySchema } from '../schemas/suggest.ts'
import { startCapture } from '../start-capture.ts'
import type { RunningCapture } from '../state/message-capture.ts'

const suggest = defineRoute({
  method: 'GET',
  path: '/suggest',
  role: 'operator',
  summary: 'Limits that ordinary senders do not reach: records messages for a time, and fits limits to them',
  query: suggestQuerySchema,
  answers: { 200: { description: 'A policy in shadow, with its figures.', schema: suggestionSchema } },
  async handle({ query }, context) {
    const { state, signal, isAuthorized } = context
    const { per, quantile, reason, topic: pattern, ...rest } = query
    if (state.suggestLimits === undefined)
      throw new AdminProblem(
        409,
        'this program suggests no limits (record its messages with POST /capture, and read them with topicgate suggest)',
      )
    if (state.isSuggesting) throw new AdminProblem(409, 'limits are being suggested already')
    state.isSuggesting = true
    let running: RunningCapture | undefined
    try {
      const topic = pattern?.replaceAll(/\{\w+\}/g, state.gate.dialect === 'mqtt' ? '+' : '*')
      const note = { ...rest, topic: pattern }
      running = await startCapture({ ...rest, topic, hashSenders: false, reason, note }, context)
      const options = { topic: pattern, per, quantile, dialect: state.gate.dialect, node: state.node }
      const suggestion = await state.suggestLimits(textsOf(running), options, signal)
      if (!isAuthorized()) throw new AdminProblem(401, 'the token is no longer valid')
      return { body: suggestion }
    } finally {
      running?.end()
      state.isSuggesting = false
    }
  },
})

async function* textsOf(running: RunningCapture): AsyncGenerator<string> {
  for (;;) {
    const text = await running.next()
    if (text === undefined) return
    yield text
  }
}

export const SUGGEST_ROUTES: readonly Route[] = [suggest]
