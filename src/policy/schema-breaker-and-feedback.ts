import * as z from 'zod'
import { SCOPE_PATTERN, TOPIC_PATTERN } from './json-schema-regexes.ts'
import {
  createWholeNumberSchema,
  durationSchema,
  encodeSchemaError,
  percentSchema,
  rateSchema,
  textSchema,
} from './schema-primitives.ts'

const topic = textSchema(
  'a topic pattern',
  'write a text in quotes, as "orders/{tenant}/#"',
  'Topics of the rule. Default: all.',
  'orders/{tenant}/#',
)
  .meta({ pattern: TOPIC_PATTERN })
  .optional()

const exceeded = z
  .enum(['retry', 'throttle', 'drop', 'reject'], {
    error: encodeSchemaError('an outcome here', 'write retry, throttle, drop or reject'),
  })
  .optional()
  .meta({ description: 'Outcome for messages it refuses. Default: retry.' })

const perSecond = (what: string): z.ZodOptional<z.ZodString> =>
  rateSchema.meta({ description: what, examples: ['5/s', '1000/s'] }).optional()

/** Schema of `feedback`. */
export const feedbackSchema = z
  .strictObject(
    {
      by: z
        .enum(['aimd', 'gradient'], { error: encodeSchemaError('a way', 'write aimd or gradient') })
        .optional()
        .meta({ description: 'Algorithm that sets the rate. Default: aimd.' }),
      latency: durationSchema
        .meta({ description: 'A higher mean latency means that the handler is overloaded. Default: 100ms.' })
        .optional(),
      from: perSecond('The least rate. Default: 1/s.'),
      upTo: perSecond('The greatest rate. Default: 10000/s.'),
      start: perSecond('Where it begins. Default: the least.'),
      every: durationSchema.meta({ description: 'Interval of changes. Default: 200ms.' }).optional(),
      topic,
      exceeded,
    },
    {
      error: encodeSchemaError(
        'a feedback',
        'write { by: aimd, latency: 100ms, from: 5/s, upTo: 1000/s, start: 100/s }',
      ),
    },
  )
  .meta({ description: 'A rate that follows the capacity of the handler of a consumer.' })

const scope = textSchema(
  'a scope',
  'write topic, client, device, user, apiKey, tier, header.NAME or a capture of the topic',
  'Scope of one breaker.',
  'topic',
).meta({ pattern: SCOPE_PATTERN })

/** Schema of `breaker`. */
export const breakerSchema = z
  .strictObject(
    {
      per: z
        .union([scope, z.array(scope).min(1)], {
          error: encodeSchemaError('a scope', 'write a scope, as topic, or a list of them'),
        })
        .optional()
        .meta({ description: 'Scope of one breaker. Default: topic.' }),
      failures: percentSchema
        .meta({ description: 'The breaker opens above this share of failures. Default: 50%.' })
        .optional(),
      over: durationSchema
        .meta({ description: 'Time over which failures are counted. Default: 10s.' })
        .optional(),
      least: createWholeNumberSchema(1, 'Of more than this many. Default: 10.').optional(),
      open: durationSchema
        .meta({ description: 'Time until one message is tried again. Default: 5s.' })
        .optional(),
      topic,
      exceeded,
    },
    {
      error: encodeSchemaError(
        'a breaker',
        'write { per: topic, failures: 50%, over: 10s, least: 10, open: 5s }',
      ),
    },
  )
  .meta({ description: 'Stops messages to a failing handler of a consumer.' })
