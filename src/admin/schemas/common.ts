import * as z from 'zod'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { MESSAGE_OPERATIONS } from '../../core/message.ts'

/** Whole milliseconds since the epoch. */
export const timeSchema = z.int().meta({ description: 'Whole milliseconds since the epoch.' })

/** A wait or a duration. */
export const waitSchema = z.number().nullable().meta({ description: 'Whole milliseconds; null if never.' })

export const operationSchema = z.enum(MESSAGE_OPERATIONS)

export const unitSchema = z.enum(['messages', 'bytes']).meta({ description: 'Unit of limit and remaining.' })
export type Unit = z.infer<typeof unitSchema>

export const outcomeSchema = z.string().meta({ description: 'Such as throttle, drop, reject.' })

export const senderIdSchema = z
  .string()
  .min(3)
  .max(2_048)
  .meta({
    description: 'Part and value of a sender: client:d7, user:alice, device:7, ip:10.0.0.0/8.',
    examples: ['client:d7'],
  })

export const reasonSchema = z
  .string()
  .trim()
  .min(1)
  .max(MAX_SIZES.reasonChars)
  .meta({ description: 'Reason, for the audit log.', examples: ['floods since 10:00, ticket 17'] })

export const durationSchema = z
  .union([z.string().max(32), z.int().min(1)])
  .meta({ description: 'Duration as 15m, 1h, 7d, or whole milliseconds.', examples: ['15m'] })

export const limitQuery = (most: number, fallback: number): z.ZodType<number> =>
  z.coerce.number().int().min(1).max(most).default(fallback)

export const topListSchema = z.object({
  error: z.number().meta({ description: 'Counts are exact, or too high by at most this.' }),
  list: z.array(z.object({ name: z.string(), count: z.number() })),
})

export const problemSchema = z.object({
  file: z.string().optional(),
  line: z.int().optional(),
  column: z.int().optional(),
  path: z
    .string()
    .optional()
    .meta({ examples: ['rules[2].limit'] }),
  message: z.string(),
  remedy: z.string().optional(),
})

/** Body of every refused request: RFC 9457. */
export const problemDocumentSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    problems: z.array(problemSchema).optional(),
  })
  .meta({
    description: 'Problem of RFC 9457; `problems` lists what is wrong, with the position in the policy.',
  })

export const pageQuery = {
  limit: limitQuery(1_000, 100),
  cursor: z.string().max(2_048).optional().meta({ description: '`next` of the page before.' }),
}

export const nextSchema = z
  .string()
  .nullable()
  .meta({ description: 'Cursor of the next page; null on the last.' })
