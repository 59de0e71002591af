import * as z from 'zod'
import { EVENT_TYPES } from '../state/event-stream.ts'
import { senderIdSchema, timeSchema } from './common.ts'
import { alertSchema, auditRecordSchema } from './overview.ts'
import { refusalSchema } from './senders.ts'

export const eventsQuerySchema = z.object({
  types: z
    .string()
    .max(200)
    .default(EVENT_TYPES.join(','))
    .transform(words => words.split(','))
    .pipe(z.array(z.enum(EVENT_TYPES)).min(1))
    .meta({ description: `Comma-separated: ${EVENT_TYPES.join(', ')}. Default: all.` }),
  sender: senderIdSchema.optional().meta({
    description:
      'Only refusals of this sender. They are not sampled with those of others, and cannot be resumed.',
  }),
  rule: z.string().max(1_024).optional().meta({ description: 'Only refusals by this rule.' }),
  topic: z
    .string()
    .max(65_535)
    .optional()
    .meta({ description: 'Only refusals on topics that match this filter.' }),
  after: z.coerce.number().int().optional().meta({ description: 'Like the header Last-Event-ID.' }),
})

/** Data of each type of event. */
export const EVENT_SCHEMAS = {
  tick: z.object({
    atMs: timeSchema,
    allowed: z.number().meta({ description: 'Decisions of the last second.' }),
    blocked: z.number(),
    connections: z.int().optional(),
    held: z.int().optional(),
    loadFactor: z.number(),
    p95Ms: z.number().optional(),
  }),
  refusal: refusalSchema.extend({ sender: z.string().meta({ examples: ['client:d7'] }) }),
  audit: auditRecordSchema,
  alert: alertSchema,
  policy: z.object({
    atMs: timeSchema,
    kind: z.enum(['applied', 'refused']),
    error: z.string().optional(),
  }),
  store: z.object({
    kind: z.literal('state'),
    store: z.string(),
    state: z.enum(['closed', 'open', 'half-open']),
    ok: z.boolean(),
    detail: z.string().optional(),
  }),
  lost: z.object({ count: z.int().nullable() }).meta({
    description: 'Events that a slow or resuming reader did not get; null if their number is unknown.',
  }),
} as const
