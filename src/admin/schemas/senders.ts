import * as z from 'zod'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { limitQuery, operationSchema, outcomeSchema, timeSchema, unitSchema, waitSchema } from './common.ts'
import { banSchema, overrideSchema, tierEntrySchema } from './entries.ts'

export const sendersQuerySchema = z.object({
  by: z
    .enum(['refused', 'rate'])
    .default('refused')
    .meta({ description: 'By refusals in the range, or by all decisions: those are counted for a second.' }),
  range: z.enum(['1h', '24h', '7d']).default('1h'),
  limit: limitQuery(MAX_SIZES.adminListedSenders, 10),
})

/** GET /senders */
export const sendersSchema = z
  .object({
    by: z.enum(['refused', 'rate']),
    range: z.enum(['1h', '24h', '7d']).optional().meta({ description: 'Of refusals.' }),
    measuredMs: z.number().optional().meta({ description: 'Time in which decisions were counted.' }),
    error: z.number().meta({ description: 'Counts are exact, or too high by at most this.' }),
    senders: z.array(
      z.object({
        id: z.string().meta({ description: 'For GET /senders/{id}.', examples: ['client:d7'] }),
        name: z.string(),
        count: z.number(),
      }),
    ),
  })
  .meta({ description: 'Most refused or busiest senders.' })

export const senderLimitSchema = z.object({
  rule: z.string(),
  pattern: z.string().optional(),
  per: z.array(z.string()).readonly(),
  counter: z
    .string()
    .meta({ description: 'Key of the counter, readable.', examples: ['site=berlin, device=d7'] }),
  topic: z.string().meta({ description: 'Topic that was asked about.' }),
  limit: z.number(),
  remaining: z.number(),
  unit: unitSchema,
  allowed: z.boolean().meta({ description: 'True if a message of cost 1 passes now.' }),
  shadow: z.boolean().meta({ description: 'True if the rule is only observed.' }),
  algorithm: z.string(),
  retryAfterMs: waitSchema,
  resetMs: waitSchema.meta({ description: 'Time until the counter is full again.' }),
  scaled: z.object({ factor: z.number(), reason: z.string() }).optional(),
})
export type SenderLimit = z.infer<typeof senderLimitSchema>

export const refusalSchema = z.object({
  atMs: timeSchema,
  lastAtMs: timeSchema,
  count: z.int().meta({ description: 'Refusals that it stands for: on a card, equal ones within a second.' }),
  topic: z.string(),
  on: operationSchema,
  rule: z.string().optional(),
  reason: z.string(),
  outcome: outcomeSchema,
  limit: z.number().optional(),
  remaining: z.number().optional(),
  unit: unitSchema.optional(),
  retryAfterMs: waitSchema,
  text: z.string().meta({ examples: ['0 of 50 left under per-device; passes again in 100 ms'] }),
})

export type RefusalJson = z.infer<typeof refusalSchema>

/** GET /senders/{id} */
export const senderCardSchema = z
  .object({
    id: z.string(),
    identity: z.object({
      client: z.string().optional(),
      user: z.string().optional(),
      device: z.string().optional(),
      ip: z.string().optional(),
      roles: z.array(z.string()).readonly().optional(),
      tier: z.string().optional(),
    }),
    connected: z.boolean().nullable().meta({ description: 'Null if that is unknown.' }),
    summary: z.string().meta({ description: 'Why it is refused, or that it is not, in one sentence.' }),
    bans: z.array(banSchema).readonly().meta({ description: 'Bans that cover it; the first applies.' }),
    overrides: z.array(overrideSchema).readonly(),
    tiers: z.array(tierEntrySchema).readonly(),
    exemptions: z.array(z.object({ name: z.string(), topic: z.string(), exempts: z.boolean() })),
    limits: z.array(senderLimitSchema).meta({ description: 'Its counters, those that refuse first.' }),
    notAsked: z
      .array(z.string())
      .meta({ description: 'Rules whose counter depends on a topic that is not known.' }),
    refusals: z
      .array(refusalSchema)
      .meta({ description: 'Its last refusals, the newest first, at most 20.' }),
  })
  .meta({ description: 'The card of a sender: why it is refused, until when. Reading it charges nothing.' })
export type SenderCard = z.infer<typeof senderCardSchema>
