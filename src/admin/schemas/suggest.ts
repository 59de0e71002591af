import * as z from 'zod'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { reasonSchema, timeSchema } from './common.ts'

/** GET /suggest */
export const suggestQuerySchema = z.object({
  for: z
    .string()
    .max(16)
    .default('60s')
    .meta({ description: 'Time in which messages are recorded, at most 1h.' }),
  max: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_SIZES.capturedMessages)
    .default(MAX_SIZES.capturedMessages)
    .meta({ description: 'Most messages.' }),
  topic: z
    .string()
    .min(1)
    .max(65_535)
    .optional()
    .meta({
      description: 'Suggests one rule, for this pattern. Default: rules for all topics.',
      examples: ['fleet/{site}/{device}/#'],
    }),
  per: z
    .string()
    .min(1)
    .max(256)
    .optional()
    .meta({ description: 'What rules count by, as client or a capture. Default: what all senders have.' }),
  quantile: z.coerce.number().min(50).max(100).default(99.9).meta({
    description: 'Percent of ordinary senders that a limit covers.',
  }),
  reason: reasonSchema,
})

const lossSchema = z.object({ messages: z.int(), refused: z.int() })

export const suggestionSchema = z
  .object({
    messages: z.int(),
    firstMs: timeSchema,
    lastMs: timeSchema,
    dialect: z.enum(['mqtt', 'nats']),
    rules: z.array(
      z.object({
        name: z.string(),
        on: z.enum(['publish', 'connect']),
        topic: z.string().optional(),
        per: z.string(),
        limit: z.string().meta({ examples: ['14/min burst 2'] }),
        keys: z.int().meta({ description: 'Senders or other values that the rule counts by.' }),
        messages: z.int(),
        outliers: z
          .array(z.object({ key: z.string(), messages: z.int(), reason: z.string() }))
          .meta({ description: 'Set apart: not used for the limit.' }),
        confidence: z.enum(['low', 'medium', 'high']),
        doubts: z.array(z.string()).meta({ description: 'Why the confidence is low.' }),
        basis: z.array(z.string()).meta({
          description: 'What the limit is based on, in sentences: messages and keys, bursts, confidence.',
        }),
        fields: z.record(z.string(), z.unknown()).meta({
          description: 'The rule in shadow besides its name, for POST /rules and POST /rules/{name}.',
        }),
      }),
    ),
    verification: z
      .object({
        ordinary: lossSchema,
        outliers: lossSchema,
        worst: z.array(z.object({ name: z.string(), count: z.int() })),
        text: z.array(z.string()).meta({ description: 'The same in sentences.' }),
      })
      .meta({
        description: 'What the last 30 % of the time would lose with limits fitted to the first 70 %.',
      }),
    policy: z.string().meta({ description: 'The policy as YAML, with all rules in shadow.' }),
  })
  .meta({ description: 'Suggested limits.' })
export type Suggestion = z.infer<typeof suggestionSchema>
