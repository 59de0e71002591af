import * as z from 'zod'
import { AdminProblem } from '../problem.ts'
import { defineRoute, type Route } from '../route.ts'
import { senderIdSchema } from '../schemas/common.ts'
import { senderCardSchema, sendersQuerySchema, sendersSchema } from '../schemas/senders.ts'
import { readSenderCard } from '../sender-card.ts'
import { parseSenderId, senderId } from '../sender-id.ts'

const list = defineRoute({
  method: 'GET',
  path: '/senders',
  role: 'viewer',
  summary: 'Most refused senders, or those with the most decisions a second',
  query: sendersQuerySchema,
  answers: { 200: { description: 'Senders.', schema: sendersSchema } },
  async handle({ query: { by, range, limit } }, { state }) {
    if (by === 'rate') {
      const { measuredMs, error, senders } = await state.measureSenders()
      const named = senders.slice(0, limit).map(({ name: id, count }) => ({ id, name: nameOf(id), count }))
      return { body: { by, measuredMs, error, senders: named } }
    }
    const clients = state.analytics.refusedClients(range, limit)
    const senders = clients.list.map(({ name, count }) => {
      const sender = state.refusals.senderNamed(name)
      return { id: sender === undefined ? `client:${name}` : senderId(sender), name, count }
    })
    return { body: { by, range, error: clients.error, senders } }
  },
})

/** Returns the value of a sender id. */
function nameOf(id: string): string {
  return parseSenderId(id)?.value ?? id
}

const card = defineRoute({
  method: 'GET',
  path: '/senders/{id}',
  role: 'viewer',
  summary: 'The card of a sender: why it is refused, until when',
  params: z.object({ id: senderIdSchema }),
  answers: {
    200: { description: 'The card; also of a sender that was never seen.', schema: senderCardSchema },
  },
  async handle({ params: { id } }, { state }) {
    const name = parseSenderId(id)
    if (name === undefined) throw new AdminProblem(400, 'write a part and a value, as client:d7')
    return { body: await readSenderCard(state, name) }
  },
})

export const SENDER_ROUTES: readonly Route[] = [list, card]
