import * as z from 'zod'
import { limitQuery, nextSchema, operationSchema, pageQuery, topListSchema, unitSchema } from './common.ts'

export const rulesQuerySchema = z.object(pageQuery)

export const ruleSchema = z.object({
  name: z.string(),
  description: z.string().optional(),
  enabled: z.boolean(),
  editable: z.boolean().meta({ description: 'True if PUT /rules/{name} can change it.' }),
  observed: z
    .boolean()
    .meta({ description: 'True for a rule in shadow: it only counts what it would refuse.' }),
  shadowShare: z.number().meta({ description: 'Share of the senders for which it is in shadow, 0 to 1.' }),
  on: operationSchema,
  pattern: z.string().optional().meta({ description: 'Absent: all topics.' }),
  count: z.number().nullable().meta({ description: 'Units per period; null if unlimited.' }),
  periodMs: z.number(),
  capacity: z.number().nullable().meta({ description: 'Most units at once.' }),
  unit: unitSchema,
  per: z.array(z.string()).readonly(),
  algorithm: z.string(),
  outcome: z.string().meta({ description: 'What happens to a message that exceeds it.' }),
  isSelective: z.boolean().meta({ description: 'True if it covers only some messages or senders.' }),
  total: z.number(),
  allowed: z.number(),
  denied: z.number(),
  shadow: z.number().meta({ description: 'Messages that it would have refused, had it not been in shadow.' }),
  hitRate: z.number().meta({ description: 'Denied ÷ total, 0 to 1.' }),
  meanRemaining: z.number().nullable(),
})

/** GET /rules */
export const rulesSchema = z
  .object({ rules: z.array(ruleSchema), total: z.int(), next: nextSchema })
  .meta({ description: 'Rules in their order, with their counts since the start or the last reset.' })

/** GET /rules/{name} */
export const ruleDetailSchema = ruleSchema
  .extend({
    violations: z.object({
      clients: topListSchema,
      users: topListSchema,
      ips: topListSchema,
      topics: topListSchema,
    }),
  })
  .meta({
    description: 'A rule with the clients, users, addresses and topics that exceed it most, also in shadow.',
  })
export type RuleDetail = z.infer<typeof ruleDetailSchema>

export const rulePathSchema = z.object({ name: z.string().min(1).max(1_024) })

export const keysQuerySchema = z.object({
  sort: z.enum(['least-left']).default('least-left'),
  limit: limitQuery(1_000, 100),
  cursor: z.coerce.number().int().min(0).default(0).meta({ description: '`next` of the scan before.' }),
})

/** GET /rules/{name}/keys */
export const keysSchema = z
  .object({
    keys: z.array(
      z.object({
        counter: z.string().meta({ examples: ['site=berlin, device=d7'] }),
        used: z.number(),
        remaining: z.number(),
        resetMs: z.number(),
      }),
    ),
    unit: unitSchema,
    partial: z.boolean().meta({ description: 'True if the rule has more keys than one scan reads.' }),
    next: z.int().nullable().meta({ description: 'Cursor of the next scan; null at the end.' }),
  })
  .meta({ description: 'Counters of a rule with the least units left, of those that were scanned.' })
