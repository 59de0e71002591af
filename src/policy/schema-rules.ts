import * as z from 'zod'
import { ALGORITHM_NAMES } from '../algorithms/limit-types.ts'
import { COST_WEIGHTS } from '../chain/rules/rule-options.ts'
import { QUOTA_PATTERN, SCOPE_PATTERN, TOPIC_PATTERN } from './json-schema-regexes.ts'
import { conditionSchema } from './schema-conditions.ts'
import { exceededSchema, messageSchema } from './schema-exceeded.ts'
import {
  booleanSchema,
  createWholeNumberSchema,
  descriptionSchema,
  durationSchema,
  encodeSchemaError,
  nameSchema,
  percentSchema,
  rateSchema,
  shadowSchema,
  textSchema,
  zoneSchema,
} from './schema-primitives.ts'
import { fallbackSchema } from './schema-store.ts'
import { rulePenaltiesSchema } from './schema-tiers-and-penalties.ts'

const pattern = textSchema(
  'a topic pattern',
  'write a text in quotes, as "fleet/{site}/#"',
  'A topic pattern of the dialect; {name} is one level that is captured.',
  'fleet/{site}/{device}/telemetry/#',
).meta({ pattern: TOPIC_PATTERN })

const COST_REMEDY =
  'write a number, bytes, light, medium, heavy, premium, { bytes: per 4KiB }, { payload: field }, { header: name } or { topics: … }'
const UNITS = encodeSchemaError(
  'a number of units',
  `write a number or one of ${Object.keys(COST_WEIGHTS).join(', ')}`,
)
const costUnits = z.union(
  [
    z.number({ error: UNITS }).min(0, { error: UNITS }),
    z.enum(Object.keys(COST_WEIGHTS) as (keyof typeof COST_WEIGHTS)[]),
  ],
  { error: UNITS },
)
const BYTES_OF_COST = encodeSchemaError(
  'a count of bytes',
  'write payload, message (topic and payload), or blocks as per 4KiB',
)
const OVERHEAD = encodeSchemaError('a number of bytes', 'write a whole number of bytes, or 1kB, 1KiB')
const LEAST_COST = encodeSchemaError('a cost', 'write a number of units, as min: 1')
const leastCost = z
  .number({ error: LEAST_COST })
  .min(0, { error: LEAST_COST })
  .optional()
  .meta({ description: 'Minimum units of a message. Default: 1.' })
const cost = z
  .union(
    [
      z
        .number({ error: encodeSchemaError('a cost', COST_REMEDY) })
        .min(0, { error: encodeSchemaError('a cost', COST_REMEDY) }),
      z.enum(['bytes', ...(Object.keys(COST_WEIGHTS) as (keyof typeof COST_WEIGHTS)[])]),
      z.strictObject({
        bytes: textSchema(
          'a count of bytes',
          'write payload, message (topic and payload), or blocks as per 4KiB',
          'payload, message (topic and payload), or blocks begun of topic, payload and overhead, as per 4KiB.',
          'per 4KiB',
          'message',
          'payload',
        ).regex(/^(?:payload|message|per\s+\S.*)$/, { error: BYTES_OF_COST }),
        overhead: z
          .union([z.int({ error: OVERHEAD }).min(0, { error: OVERHEAD }), z.string({ error: OVERHEAD })], {
            error: OVERHEAD,
          })
          .optional()
          .meta({ description: 'Bytes added to each message. Default: 0.' }),
        min: leastCost,
      }),
      z.strictObject({
        payload: textSchema('a field', 'write a path, as price', 'Path to a number in the payload.'),
        min: leastCost,
      }),
      z.strictObject({
        header: textSchema('a header name', 'write a name', 'A header that holds a number.'),
        min: leastCost,
      }),
      z.strictObject({
        topics: z
          .record(z.string(), costUnits)
          .meta({ description: 'Units by topic pattern, the first match.' }),
        default: costUnits.optional(),
      }),
    ],
    { error: encodeSchemaError('a cost', COST_REMEDY) },
  )
  .meta({
    description:
      'Units a message takes: a number, bytes, a word (light 1, medium 5, heavy 10, premium 50), bytes in full, a payload or header field, or by topic. Default: 1, or bytes where the rate is in bytes.',
  })

const RETAINED = encodeSchemaError(
  'a whole number from 1',
  'write messages as retained: 1000, or bytes as retained: 10MB',
)
const SIZE = encodeSchemaError('a number of bytes', 'write a whole number of bytes, or 256kB, 64KiB')
const BURST = encodeSchemaError('a burst', 'write a whole number of at least 1, or bytes as 2MB')
const scope = textSchema(
  'a scope',
  'write global, client, device, user, apiKey, role, tier, ip, topic, pattern, header.NAME or a capture of the topic',
  'global, client, device, user, apiKey, role, tier, ip (IPv6 by /64), ip/24, ip/24/56, topic, pattern, header.NAME, a capture of the topic, or the first that is known, as user|ip.',
  'client',
  'device',
  'ip',
  'user|ip',
  'topic',
).meta({ pattern: SCOPE_PATTERN })

const action = z.enum(['publish', 'subscribe', 'connect', 'deliver', 'accept'], {
  error: encodeSchemaError('an action'),
})

const enabled = booleanSchema.optional().meta({ description: 'Default: true.' })
const priority = z
  .int({ error: encodeSchemaError('a whole number', 'write a whole number; higher ones are asked earlier') })
  .optional()
  .meta({
    description:
      'Sorts rules among rules, and exemptions among exemptions: higher ones first, equal ones in the order of the list. Default: 0.',
  })

/** Schema of one entry of `rules`. */
export const ruleSchema = z
  .strictObject(
    {
      name: nameSchema,
      description: descriptionSchema.optional(),
      enabled,
      priority,
      topic: pattern.optional().meta({ description: 'Topics of the rule. Default: all.' }),
      on: action.optional().meta({ description: 'Default: publish.' }),
      per: z
        .union([scope, z.array(scope).min(1)], {
          error: encodeSchemaError(
            'a scope',
            'write a scope, as device, or a list of them, as [device, topic]',
          ),
        })
        .optional()
        .meta({ description: 'Scope of its counters; a list counts by the combination. Default: global.' }),
      limit: rateSchema.optional(),
      quota: rateSchema
        .meta({
          description: 'Units per calendar window; months and weeks may start on another day.',
          examples: ['10000/day', '1GB/month', '1GB/month from day 15', '1000/week from sunday'],
          pattern: QUOTA_PATTERN,
        })
        .optional(),
      inFlight: createWholeNumberSchema(
        1,
        'Most handlers of consumers at work at once for each key, instead of a limit or quota.',
      ).optional(),
      connections: createWholeNumberSchema(
        1,
        'Most connections a broker holds for each key, instead of a limit.',
      ).optional(),
      subscriptions: createWholeNumberSchema(
        1,
        'Most subscriptions a broker holds for each key, instead of a limit.',
      ).optional(),
      retained: z
        .union([z.int({ error: RETAINED }).min(1, { error: RETAINED }), z.string({ error: RETAINED })], {
          error: RETAINED,
        })
        .optional()
        .meta({
          description:
            'Most retained messages a broker holds for each key, or bytes of them, instead of a limit.',
          examples: [1000, '10MB'],
        }),
      maxSize: z
        .union([z.int({ error: SIZE }).min(0, { error: SIZE }), z.string({ error: SIZE })], { error: SIZE })
        .optional()
        .meta({
          description: 'Maximum payload bytes of a message, such as 256kB, instead of a limit or quota.',
          examples: ['256kB', '64KiB'],
        }),
      unchanged: z
        .enum(['drop', 'reject'], { error: encodeSchemaError('drop or reject', 'write unchanged: drop') })
        .optional()
        .meta({
          description:
            'Outcome of a message whose payload equals the last one that passed on its topic, instead of a limit or quota.',
          examples: ['drop'],
        }),
      upTo: durationSchema
        .meta({
          description:
            'Of `unchanged`: age of the last payload at which an equal one passes again. Default: never.',
          examples: ['10m'],
        })
        .optional(),
      burst: z
        .union([z.int({ error: BURST }).min(1, { error: BURST }), z.string({ error: BURST })], {
          error: BURST,
        })
        .optional()
        .meta({ description: 'Maximum units of a token bucket. Default: the count of the rate.' }),
      initial: createWholeNumberSchema(0, 'Units a token bucket starts with. Default: its burst.').optional(),
      // Custom names are known only when the policy is compiled.
      algorithm: z
        .union([z.enum(ALGORITHM_NAMES.filter(name => name !== 'quota')), z.string()], {
          error: encodeSchemaError('an algorithm'),
        })
        .optional()
        .meta({ description: "Default: token-bucket. Or the name of an algorithm of one's own." }),
      window: z
        .enum(['calendar', 'rolling'], { error: encodeSchemaError('a window') })
        .optional()
        .meta({
          description: 'Window of a quota: calendar windows start at local midnight. Default: calendar.',
        }),
      zone: zoneSchema.optional(),
      cost: cost.optional(),
      exceeded: exceededSchema.optional(),
      message: messageSchema.optional(),
      warn: z
        .array(percentSchema, { error: encodeSchemaError('a list of percentages', 'write [80%, 95%]') })
        .optional()
        .meta({
          description: 'Shares of the limit at which a warning is emitted, before any refusal.',
        }),
      penalties: rulePenaltiesSchema.optional(),
      fallback: fallbackSchema.optional().meta({
        description:
          'How this rule is decided while the store is unreachable. Default: the setting of the store.',
      }),
      for: z
        .strictObject(
          {
            clients: names('client ids'),
            devices: names('devices'),
            users: names('users'),
            apiKeys: names('api keys'),
            roles: names('roles'),
            tiers: names('tiers'),
            ips: names('addresses and CIDR blocks'),
          },
          { error: encodeSchemaError('an object of lists', 'write for: { roles: [guest] }') },
        )
        .optional()
        .meta({ description: 'Senders of the rule: lists are alternatives. Default: all.' }),
      when: conditionSchema
        .optional()
        .meta({ description: 'Messages of the rule; it ignores others. Default: all.' }),
      shadow: shadowSchema.optional().meta({
        description:
          'Decides and reports, but refuses nothing; a share as 90%: for so many of the senders. Default: that of the policy.',
        examples: [true, '90%'],
      }),
    },
    { error: encodeSchemaError('a rule', 'write an object, as { name: telemetry, limit: 10/s }') },
  )
  .meta({
    id: 'rule',
    description:
      'A limit, a quota, a maximum size, the outcome of repeated payloads, or the most handlers at work, connections, subscriptions or retained messages at once.',
    oneOf: [
      'limit',
      'quota',
      'inFlight',
      'connections',
      'subscriptions',
      'retained',
      'maxSize',
      'unchanged',
    ].map(word => ({ required: [word], properties: { [word]: true } })),
  })

function names(what: string): z.ZodOptional<z.ZodArray<z.ZodString>> {
  const remedy = `write a list of ${what}, as [a, b]`
  return z
    .array(textSchema('a text', 'put it in quotes', `One of the ${what}.`), {
      error: encodeSchemaError(`a list of ${what}`, remedy),
    })
    .optional()
}

/** Schema of one entry of `exempt`. */
export const exemptSchema = z
  .strictObject(
    {
      name: nameSchema.optional(),
      description: descriptionSchema.optional(),
      enabled,
      priority,
      topics: z
        .array(pattern, {
          error: encodeSchemaError('a list of topic patterns', 'write ["$SYS/#", "admin/#"]'),
        })
        .optional(),
      clients: names('client ids'),
      devices: names('devices'),
      users: names('users'),
      apiKeys: names('api keys'),
      roles: names('roles'),
      ips: names('addresses and CIDR blocks'),
      on: z
        .union([action, z.array(action).min(1)], {
          error: encodeSchemaError('an action, or a list of actions'),
        })
        .optional()
        .meta({
          description:
            'Actions of the exemption. Default: all, but on a connect lists of users, API keys and roles match no sender.',
        }),
      when: conditionSchema.optional(),
      limit: rateSchema
        .meta({
          description: 'Its own limit: above it, rules apply as to any message.',
          examples: ['5/min per device'],
        })
        .optional(),
    },
    { error: encodeSchemaError('an exemption', 'write an object, as { name: operators, roles: [admin] }') },
  )
  .meta({
    id: 'exemption',
    description: 'Exempts messages from all rules. Lists are alternatives; `when` must match as well.',
  })
