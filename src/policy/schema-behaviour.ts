import * as z from 'zod'
import { SENDER_PARTS } from '../chain/senders/sender-selector.ts'
import { encodeSchemaError } from './schema-primitives.ts'

const factor = (what: string) =>
  z
    .union([z.number(), z.string()], { error: encodeSchemaError('a factor', 'write 1.2 or x1.2') })
    .meta({ description: what })
    .optional()

/** Schema of `behaviour`. */
export const behaviourSchema = z
  .strictObject(
    {
      good: factor('What limits of good senders are multiplied by. Default: 1.2.'),
      abusive: factor('What those of abusive ones are. Default: 0.3.'),
      per: z
        .enum(SENDER_PARTS, { error: encodeSchemaError('a part of a sender') })
        .optional()
        .meta({ description: 'Part of the sender that identifies it. Default: the client.' }),
    },
    { error: encodeSchemaError('a behaviour', 'write { good: 1.2, abusive: 0.3 }, or {} for these') },
  )
  .meta({ description: 'Limits on publishes that follow the behaviour of the sender.' })
