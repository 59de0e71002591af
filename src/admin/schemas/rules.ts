import * as z from 'zod'
import { nextSchema, operationSchema, pageQuery, topListSchema } from './common.ts'

export const rulesQuerySchema = z.object(pageQuery)

export const ruleSchema = z.object({
  name: z.string(),
  description: z.string().optional(),
  enabled: z.boolean(),
  observed: z
    .boolean()
    .meta({ description: 'True for a rule in shadow: it only counts what it would refuse.' }),
  on: operationSchema,
  pattern: z.string().optional().meta({ description: 'Absent: all topics.' }),
  count: z.number().nullable().meta({ description: 'Units per period; null if unlimited.' }),
  periodMs: z.number(),
  capacity: z.number().nullable().meta({ description: 'Most units at once.' }),
  unit: z.enum(['messages', 'bytes']),
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
    violations: z.object({ users: topListSchema, ips: topListSchema, topics: topListSchema }),
  })
  .meta({ description: 'A rule with its most refused users, addresses and topics.' })
export type RuleDetail = z.infer<typeof ruleDetailSchema>

export const rulePathSchema = z.object({ name: z.string().min(1).max(1_024) })
