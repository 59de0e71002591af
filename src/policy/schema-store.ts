import * as z from 'zod'
import { FALLBACKS } from '../stores/store.ts'
import {
  createWholeNumberSchema,
  durationSchema,
  encodeSchemaError,
  textSchema,
} from './schema-primitives.ts'

const storeUrl = textSchema(
  'a store',
  'write memory, sqlite:FILE, redis://HOST or nats://HOST',
  'Store for the state of limits.',
  'memory',
  'sqlite:./limits.db',
  'redis://127.0.0.1:6379',
  'redis+sentinel://h1:26379,h2:26379/mymaster',
  'redis+cluster://h1:7000,h2:7001',
  'nats://127.0.0.1:4222',
)

/** Schema of `fallback`: how to decide while the store is unreachable, for the whole store or one rule. */
export const fallbackSchema = z
  .enum(FALLBACKS, { error: encodeSchemaError('a fallback', `use one of ${FALLBACKS.join(', ')}`) })
  .meta({
    description:
      'Who decides while the store is out of reach: memory (the same limits in each node), degraded (the half, or one share of `nodes`), allow or deny. Default: memory.',
  })

const LEASE = encodeSchemaError('a lease', 'write auto, none, or { units: 20, ttl: 2s }')
const lease = z
  .union(
    [
      z.enum(['auto', 'none']),
      z.strictObject({
        units: z.union([z.literal('auto'), z.int().min(1)], { error: LEASE }).optional(),
        ttl: durationSchema.optional(),
      }),
    ],
    { error: LEASE },
  )
  .meta({
    description:
      'Units taken in advance and decided on here. Default: auto on NATS, else none: every message asks.',
  })

const breaker = z
  .strictObject({
    threshold: createWholeNumberSchema(1, 'Failures in a row that open it. Default: 5.').optional(),
    recovery: durationSchema.meta({ description: 'Time it stays open. Default: 60s.' }).optional(),
    health: durationSchema
      .meta({ description: 'Interval of health checks of the store. Default: 30s.' })
      .optional(),
  })
  .meta({ description: 'Conditions and times of a pause in using the store.' })

/** Schema of `store`. */
export const storeSchema = z
  .union(
    [
      storeUrl,
      z.strictObject({
        url: storeUrl,
        prefix: textSchema('a prefix', 'write a text', 'Prefix of every key in a shared store.').optional(),
        timeout: durationSchema
          .meta({ description: 'Maximum time of a decision. Default: 250ms.' })
          .optional(),
        lease: lease.optional(),
        fallback: fallbackSchema.optional(),
        nodes: createWholeNumberSchema(1, 'How many nodes share the store.').optional(),
        breaker: breaker.optional(),
      }),
    ],
    { error: encodeSchemaError('a store', 'write memory, sqlite:FILE, redis://HOST or nats://HOST') },
  )
  .meta({ description: 'Store for the state of limits. Default: memory.' })
