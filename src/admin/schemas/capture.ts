import * as z from 'zod'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { reasonSchema } from './common.ts'

/** POST /capture */
export const captureBodySchema = z.strictObject({
  for: z.string().max(16).default('60s').meta({ description: 'Length, at most 1h.' }),
  max: z.int().min(1).max(MAX_SIZES.capturedMessages).default(MAX_SIZES.capturedMessages),
  client: z.string().max(65_535).optional(),
  topic: z.string().max(65_535).optional().meta({ description: 'Only topics that match this filter.' }),
  senders: z.enum(['names', 'hashes']).default('names').meta({
    description: 'hashes: names are replaced, differently in each capture; addresses are left out.',
  }),
  reason: reasonSchema,
})
