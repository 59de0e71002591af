import * as z from 'zod'
import { SCOPE_PATTERN, TOPIC_PATTERN } from './schema-patterns.ts'
import { durationText, expects, percentText, rateText, text, wholeNumber } from './schema-types.ts'

const topic = text(
  'a topic pattern',
  'write a text in quotes, as "orders/{tenant}/#"',
  'The topics it holds for. Default: all.',
  'orders/{tenant}/#',
)
  .meta({ pattern: TOPIC_PATTERN })
  .optional()

const exceeded = z
  .enum(['retry', 'throttle', 'drop', 'reject'], {
    error: expects('an outcome here', 'write retry, throttle, drop or reject'),
  })
  .optional()
  .meta({ description: 'What becomes of messages it does not let pass. Default: retry.' })

const perSecond = (what: string): z.ZodOptional<z.ZodString> =>
  rateText.meta({ description: what, examples: ['5/s', '1000/s'] }).optional()

/** The word `feedback`. */
export const feedbackSchema = z
  .strictObject(
    {
      by: z
        .enum(['aimd', 'gradient'], { error: expects('a way', 'write aimd or gradient') })
        .optional()
        .meta({ description: 'How the rate is set. Default: aimd.' }),
      latency: durationText
        .meta({ description: 'A mean above it means that the handler cannot keep up. Default: 100ms.' })
        .optional(),
      from: perSecond('The least rate. Default: 1/s.'),
      upTo: perSecond('The greatest rate. Default: 10000/s.'),
      start: perSecond('Where it begins. Default: the least.'),
      every: durationText.meta({ description: 'How often it is set. Default: 200ms.' }).optional(),
      topic,
      exceeded,
    },
    {
      error: expects(
        'a feedback',
        'write { by: aimd, latency: 100ms, from: 5/s, upTo: 1000/s, start: 100/s }',
      ),
    },
  )
  .meta({ description: 'A rate that follows what the handler of a consumer can do.' })

const scope = text(
  'a scope',
  'write topic, client, device, user, apiKey, tier, header.NAME or a capture of the topic',
  'What fails together.',
  'topic',
).meta({ pattern: SCOPE_PATTERN })

/** The word `breaker`. */
export const breakerSchema = z
  .strictObject(
    {
      per: z
        .union([scope, z.array(scope).min(1)], {
          error: expects('a scope', 'write a scope, as topic, or a list of them'),
        })
        .optional()
        .meta({ description: 'What fails together. Default: topic.' }),
      failures: percentText.meta({ description: 'It opens above this share. Default: 50%.' }).optional(),
      over: durationText.meta({ description: 'Of messages in this time. Default: 10s.' }).optional(),
      least: wholeNumber(1, 'Of more than this many. Default: 10.').optional(),
      open: durationText
        .meta({ description: 'How long before one message tries again. Default: 5s.' })
        .optional(),
      topic,
      exceeded,
    },
    { error: expects('a breaker', 'write { per: topic, failures: 50%, over: 10s, least: 10, open: 5s }') },
  )
  .meta({ description: 'Keeps messages from a handler of a consumer that fails.' })
