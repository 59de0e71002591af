import * as z from 'zod'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { operationSchema, unitSchema, waitSchema } from './common.ts'

const text = z.string().max(65_535).optional()

/** A message to explain or decide. */
export const messageSchema = z.strictObject({
  topic: z.string().min(1).max(65_535),
  on: operationSchema.default('publish'),
  sender: z
    .strictObject({
      client: text,
      user: text,
      device: text,
      apiKey: text,
      ip: text,
      roles: z.array(z.string().max(1_024)).max(MAX_SIZES.rolesPerSender).optional(),
      tier: text,
    })
    .default({}),
  size: z.int().min(0).optional().meta({ description: 'Payload bytes. Default: those of `payload`.' }),
  payload: z.unknown().optional().meta({ description: 'A text as it is sent, or a JSON value.' }),
  headers: z.record(z.string(), z.union([z.string(), z.array(z.string())])).optional(),
  qos: z.union([z.literal(0), z.literal(1), z.literal(2)]).default(0),
  retain: z.boolean().default(false),
  will: z.boolean().default(false),
})
export type AdminMessageBody = z.output<typeof messageSchema>

/** POST /explain */
export const explanationSchema = z
  .looseObject({
    topic: z.string(),
    patterns: z.array(z.unknown()),
    exemptions: z.array(z.unknown()),
    limits: z.array(z.unknown()),
    skipped: z.array(z.unknown()),
    decision: z.looseObject({ allowed: z.boolean(), outcome: z.string(), reason: z.string() }),
  })
  .meta({
    description: 'Every step of the decision, as printed by `topicgate explain --json`; null is never.',
  })

export const decisionSchema = z.object({
  allowed: z.boolean(),
  outcome: z.string(),
  reason: z.string(),
  rule: z.string().optional(),
  limit: z.number().optional(),
  remaining: z.number().optional(),
  unit: unitSchema.optional(),
  retryAfterMs: waitSchema,
  resetMs: waitSchema.optional(),
  shadow: z.array(z.string()).readonly().optional(),
  fallback: z.boolean().optional(),
  exemption: z.string().optional(),
  scaled: z.object({ factor: z.number(), reason: z.string() }).optional(),
})

const commit = z
  .boolean()
  .default(true)
  .meta({ description: 'False: decide without charging, which a viewer may do. True needs an operator.' })

export const decideBodySchema = messageSchema.extend({ commit })
export const decideBatchBodySchema = z.strictObject({
  messages: z.array(messageSchema).min(1).max(MAX_SIZES.adminBatch),
  commit,
})
export const decideBatchSchema = z.object({ decisions: z.array(decisionSchema) })
