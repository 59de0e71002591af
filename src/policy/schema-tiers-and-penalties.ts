import * as z from 'zod'
import { DEFAULT_TIERS } from '../chain/rules/tiers.ts'
import { SENDER_PARTS } from '../chain/senders/sender-selector.ts'
import {
  durationSchema,
  encodeSchemaError,
  rateSchema,
  templateSchema,
  textSchema,
} from './schema-primitives.ts'

const tier = z.strictObject(
  {
    limit: rateSchema
      .meta({
        description: 'Limit of each sender of the tier, over all topics.',
        examples: ['60/min burst 100', 'unlimited'],
      })
      .optional(),
    cost: textSchema(
      'a factor',
      'write x and a number with at most three decimals, as x0.5 or x5',
      'What costs of its messages are multiplied by, at all rules. Default: x1.',
      'x0.5',
    ).optional(),
  },
  { error: encodeSchemaError('a tier', 'write { limit: 60/min burst 100, cost: x1 }') },
)

const assign = z
  .strictObject(
    {
      from: templateSchema.optional(),
      default: textSchema(
        'a tier',
        'write the name of a tier',
        'Tier of senders without a known one.',
      ).optional(),
    },
    { error: encodeSchemaError('an assignment', 'write { from: "{header.tier}", default: free }') },
  )
  .meta({ description: 'Assignment of tiers. Default: from the broker or `senders`.' })

/** Schema of `tiers`. */
export const tiersSchema = z
  .object(
    { assign: assign.optional() },
    { error: encodeSchemaError('tiers', 'write { free: { limit: 60/min burst 100 } }') },
  )
  .catchall(tier)
  .meta({ description: `Limits and prices by tier, over ${Object.keys(DEFAULT_TIERS).join(', ')}.` })

/** Schema of `penalties` in a rule. */
export const rulePenaltiesSchema = z
  .strictObject(
    {
      block: durationSchema.meta({ description: 'Time a sender is blocked.' }),
      after: textSchema(
        'a count of refusals',
        'write 3 refusals in 10s',
        'Refusals within a time. Default: 1.',
        '3 refusals in 10s',
      ).optional(),
      grow: textSchema(
        'a growth',
        'write x2 up to 1h',
        'How much longer each time. Default: x1.',
        'x2 up to 1h',
      ).optional(),
      per: z
        .enum(SENDER_PARTS, { error: encodeSchemaError('a part of a sender') })
        .optional()
        .meta({ description: 'Part of the sender that is blocked. Default: the client.' }),
    },
    {
      error: encodeSchemaError(
        'penalties',
        'write { block: 60s, after: 3 refusals in 10s, grow: x2 up to 1h }',
      ),
    },
  )
  .meta({ id: 'rulePenalties', description: 'Blocks for senders that continue after refusals.' })

const connects = textSchema(
  'a count of connects',
  'write 5 connects in 10s, or 100 connects in 10s per ip',
  'Connects within a time, and of whom. Default: of who is blocked.',
  '5 connects in 10s',
  '100 connects in 10s per ip',
)

/** Schema of `penalties` in a policy. */
export const penaltiesSchema = rulePenaltiesSchema
  .extend({
    flapping: z
      .union([connects, z.array(connects).min(1)], {
        error: encodeSchemaError(
          'a count of connects',
          'write 5 connects in 10s, or 100 connects in 10s per ip',
        ),
      })
      .optional()
      .meta({ description: 'Blocks senders that connect too often.' }),
  })
  .meta({
    id: 'penalties',
    description: 'Blocks for senders that continue after refusals or connect too often.',
  })
