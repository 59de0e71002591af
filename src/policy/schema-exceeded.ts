import * as z from 'zod'
import {
  booleanSchema,
  createWholeNumberSchema,
  durationSchema,
  encodeSchemaError,
  exceededWords,
  textSchema,
} from './schema-primitives.ts'

const THEN = z
  .enum(['drop', 'reject', 'disconnect'], { error: encodeSchemaError('an outcome here') })
  .optional()
const BYTES = encodeSchemaError('a number of bytes', 'write a whole number, or bytes as 16MiB')
const bytes = z.union([z.int({ error: BYTES }), z.string({ error: BYTES })], { error: BYTES }).optional()
const fields = z
  .array(textSchema('a field', 'write a path, as reading.value', 'Path to a field of a JSON payload.'), {
    error: encodeSchemaError('a list of fields', 'write a list, as [value, unit]'),
  })
  .optional()
/** Returns the error of an outcome's options that are no object. */
function optionsError(outcome: string, example: string): { readonly error: string } {
  const short = outcome === 'redirect' ? '' : `exceeded: ${outcome}, or `
  return {
    error: encodeSchemaError(
      `a set of options for ${outcome}`,
      `write ${short}exceeded: { ${outcome}: { ${example} } }`,
    ),
  }
}
const throttle = z.strictObject(
  {
    upTo: durationSchema.optional(),
    then: z.enum(['drop', 'disconnect'], { error: encodeSchemaError('an outcome here') }).optional(),
  },
  optionsError('throttle', 'upTo: 30s'),
)
const queue = z.strictObject(
  {
    max: createWholeNumberSchema(
      1,
      'Most messages held, of all senders together. Default: 10000.',
    ).optional(),
    bytes: bytes.meta({ description: 'Maximum bytes of held payloads and topics. Default: 64 MiB.' }),
    order: z
      .enum(['priority', 'arrival'], { error: encodeSchemaError('an order') })
      .optional()
      .meta({ description: 'Default: priority, in turns between the senders of one priority.' }),
    priority: z
      .union(
        [
          z.strictObject({
            payload: textSchema('a field', 'write a path, as priority', 'Path to the priority.'),
          }),
          z.strictObject({
            header: textSchema('a header name', 'write a name', 'The header that holds it.'),
          }),
        ],
        { error: encodeSchemaError('a priority', 'write { payload: field } or { header: name }') },
      )
      .optional()
      .meta({ description: 'Source of the priority: low, normal, high, emergency or a number from 0 to 9.' }),
    upTo: durationSchema.optional(),
    then: THEN,
  },
  optionsError('queue', 'max: 1000'),
)
const latest = z.strictObject(
  {
    topics: createWholeNumberSchema(1, 'Most topics of which a message is held. Default: 10000.').optional(),
    bytes: bytes.meta({ description: 'Maximum bytes of held payloads and topics. Default: 64 MiB.' }),
    then: THEN,
  },
  optionsError('latest', 'topics: 1000'),
)
const redirect = z.strictObject(
  {
    to: textSchema(
      'a topic',
      'write the topic messages go to',
      'The topic; may hold {topic}, {client}, {rule} and captures of the rule.',
      'dead/{topic}',
    ).optional(),
    headers: booleanSchema.optional().meta({ description: 'Adds the reason in headers. Default: true.' }),
  },
  optionsError('redirect', 'to: dead/{topic}'),
)
const degrade = z.strictObject(
  {
    sample: createWholeNumberSchema(1, 'Deliver 1 in so many of each key. Default: 1.').optional(),
    keep: fields,
    strip: fields,
    clearRetain: booleanSchema.optional().meta({ description: 'Default: true.' }),
    qos: z
      .union([z.literal(0), z.literal(1), z.literal(2)], {
        error: encodeSchemaError('a QoS', 'write 0, 1 or 2'),
      })
      .optional()
      .meta({ description: 'Maximum QoS of the delivery. Default: 0.' }),
    mark: textSchema('a header name', 'write a name', 'Header for the name of the rule.').optional(),
  },
  optionsError('degrade', 'sample: 10'),
)
/** Schema of `exceeded` in a rule. */
export const exceededSchema = z
  .union(
    [
      z.enum(exceededWords),
      z.strictObject({ throttle }),
      z.strictObject({ queue }),
      z.strictObject({ latest }),
      z.strictObject({ redirect }),
      z.strictObject({ degrade }),
    ],
    { error: encodeSchemaError('an outcome', `use one of ${exceededWords.join(', ')}`) },
  )
  .meta({ description: 'Outcome for a message over the limit. Default: reject.' })

const refusal = textSchema(
  'a text',
  'put it in quotes',
  'A text with places as {retry}, {limit}, {window}, {remaining}, {reset}, {rule}, {reason} or {client}.',
  'Too fast: {limit} per {window}. Try again in {retry}.',
)
/** Schema of `message` in a rule. */
export const messageSchema = z
  .union(
    [
      refusal,
      z.strictObject({
        user: refusal.optional(),
        device: refusal.optional(),
        api: refusal.optional(),
        anonymous: refusal.optional(),
      }),
    ],
    {
      error: encodeSchemaError(
        'a message',
        'write a text, or one for each of user, device, api and anonymous',
      ),
    },
  )
  .meta({ description: 'Text for a refused sender. Default: a text for its kind of sender.' })
