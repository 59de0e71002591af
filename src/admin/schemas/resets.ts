import * as z from 'zod'
import { reasonSchema } from './common.ts'

export const resetBodySchema = z
  .strictObject({
    rule: z.string().max(1_024).optional(),
    sender: z
      .string()
      .max(2_048)
      .optional()
      .meta({ examples: ['client:d7'] }),
    confirm: z.literal('all').optional().meta({ description: 'Needed to forget every count of every rule.' }),
    reason: reasonSchema,
  })
  .meta({ description: 'Counts to forget: of a rule, of a sender, of both, or all.' })
export const resetSchema = z.object({ keys: z.int().meta({ description: 'Forgotten keys.' }) })

export const metricsResetBodySchema = z.strictObject({
  rule: z.string().max(1_024).optional(),
  reason: reasonSchema,
})
