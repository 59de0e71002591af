import * as z from 'zod'
import { limitQuery, timeSchema, topListSchema } from './common.ts'

/** GET /status */
export const statusSchema = z
  .object({
    version: z.string(),
    node: z.string().meta({ description: 'Name of the node that answers.' }),
    startedAtMs: timeSchema,
    uptimeMs: z.int(),
    role: z.enum(['viewer', 'operator', 'admin']).meta({ description: 'Role of the token of this request.' }),
    caller: z.string().meta({ description: 'Name of the token of this request.' }),
    policy: z.object({
      etag: z.string().meta({ description: 'Changes with the policy; also the ETag of GET /policy.' }),
      rules: z.int(),
      appliedAtMs: timeSchema,
      editable: z.boolean().meta({ description: 'True if the policy can be changed through the API.' }),
    }),
    store: z.object({
      name: z.string(),
      ok: z.boolean(),
      state: z
        .enum(['closed', 'open', 'half-open'])
        .optional()
        .meta({ description: 'State of its circuit breaker.' }),
      fallback: z.string().optional(),
      keys: z.int().optional(),
      evictions: z.int().optional(),
      overflows: z.int().optional(),
      detail: z.string().optional(),
      warnings: z.array(z.string()).optional(),
    }),
    load: z
      .object({ factor: z.number(), reason: z.string() })
      .nullable()
      .meta({ description: 'Factor of adaptive limits; null if they apply as written.' }),
    connections: z.int().nullable(),
    held: z.int().nullable().meta({ description: 'Messages that wait.' }),
    p95Ms: z
      .number()
      .nullable()
      .meta({ description: '95th percentile of the duration of decisions; null without any.' }),
    streams: z.int().meta({ description: 'Open event streams.' }),
    alerts: z.int().meta({ description: 'Alerts that fire now.' }),
    nodes: z.array(z.string()).meta({
      description: 'Nodes with an admin server that share the store, this one first.',
    }),
    listeners: z.array(z.string()).meta({
      description: 'Addresses at which clients connect.',
      examples: ['mqtt://127.0.0.1:1883'],
    }),
    entries: z.object({ bans: z.int(), overrides: z.int(), exemptions: z.int(), tiers: z.int() }),
  })
  .meta({ description: 'State of the node.' })
export type Status = z.infer<typeof statusSchema>

export const serverCheckSchema = z.object({
  name: z.string().meta({ examples: ['file descriptors'] }),
  result: z.enum(['ok', 'warning', 'failed']),
  detail: z.string(),
})
export type ServerCheck = z.infer<typeof serverCheckSchema>

/** GET /checks */
export const checksSchema = z
  .object({ checks: z.array(serverCheckSchema) })
  .meta({ description: 'Results of the checks that the server itself makes.' })

export const summaryQuerySchema = z.object({
  range: z.enum(['1h', '24h', '7d']).default('1h'),
  nodes: z.enum(['self', 'all']).default('self'),
})

const periodSchema = z.object({
  startMs: timeSchema,
  total: z.number(),
  blocked: z.number(),
  uniqueClients: z.number(),
})

const groupSchema = z.object({
  name: z.string().meta({ description: 'Empty: none.' }),
  total: z.number(),
  blocked: z.number(),
})

/** GET /summary */
export const summarySchema = z
  .object({
    range: z.enum(['1h', '24h', '7d']),
    fromMs: timeSchema,
    toMs: timeSchema,
    nodes: z
      .enum(['self', 'all'])
      .meta({ description: 'Nodes that are covered; all: as old as their last export.' }),
    covered: z.array(z.string()).meta({ description: 'Names of the nodes whose decisions are counted.' }),
    total: z.number(),
    blocked: z.number(),
    blockRate: z.number().meta({ description: 'Blocked ÷ total, 0 to 1.' }),
    uniqueClients: z.number(),
    topBlocked: z.object({ clients: topListSchema, topics: topListSchema, rules: topListSchema }),
    groups: z
      .object({ tiers: z.array(groupSchema), scopes: z.array(groupSchema) })
      .optional()
      .meta({
        description:
          'Decisions of this node by tier of the sender and by scope of the rule, since its start or the last reset.',
      }),
    hourly: z
      .array(periodSchema)
      .meta({ description: 'The last 24 hours, oldest first; the last is still open.' }),
    daily: z.array(periodSchema).meta({ description: 'The last 30 days, UTC.' }),
  })
  .meta({ description: 'Decisions of a range.' })
export type Summary = z.infer<typeof summarySchema>

export const seriesQuerySchema = z.object({
  of: z
    .string()
    .max(1_024)
    .regex(/^(total|rule:.+)$/s, 'write total, or rule:NAME')
    .default('total'),
  step: z.enum(['1s', '10s']).default('1s').meta({ description: 'A rule has steps of 10s only.' }),
  for: z
    .string()
    .max(16)
    .default('15m')
    .meta({ description: 'Length, as 15m. At most 15m by the second, 6h by ten seconds, 1h of a rule.' }),
})

/** GET /series */
export const seriesSchema = z
  .object({
    of: z.string(),
    stepMs: z.int(),
    points: z.array(z.object({ atMs: timeSchema, allowed: z.number(), blocked: z.number() })),
  })
  .meta({ description: 'Decisions by step, oldest first. `atMs` is the start of a step.' })

export const alertSchema = z.object({
  id: z.string(),
  name: z.string(),
  severity: z.enum(['info', 'warning', 'critical']),
  state: z.enum(['firing', 'resolved']),
  text: z.string(),
  value: z.number(),
  threshold: z.number(),
  sinceMs: timeSchema,
  atMs: timeSchema,
})

/** GET /alerts */
export const alertsSchema = z
  .object({ firing: z.array(alertSchema), resolved: z.array(alertSchema) })
  .meta({ description: 'Alerts that fire now, and those resolved last, the newest first.' })

export const auditQuerySchema = z.object({
  limit: limitQuery(1_000, 100),
  before: z.coerce
    .number()
    .int()
    .min(1)
    .optional()
    .meta({ description: 'Only records with a lower number.' }),
  after: z.coerce
    .number()
    .int()
    .min(0)
    .optional()
    .meta({ description: 'Only records with a higher number.' }),
})

export const auditRecordSchema = z.object({
  seq: z.int().meta({ description: 'Number of the record; only grows.' }),
  at: z.string(),
  atMs: timeSchema,
  kind: z.enum([
    'ban',
    'override',
    'exemption',
    'tier',
    'behaviour',
    'breaker',
    'policy',
    'counters',
    'metrics',
    'capture',
  ]),
  action: z.enum(['added', 'removed', 'expired', 'changed', 'reset', 'started']),
  id: z.string(),
  by: z.string().meta({ description: 'Name of the token; clock if an entry expired.' }),
  ip: z.string().optional(),
  reason: z.string(),
  before: z.unknown().optional().meta({ description: 'State before the change.' }),
  note: z
    .unknown()
    .optional()
    .meta({ description: 'State after the change; of a removed entry, the entry.' }),
})

/** GET /audit */
export const auditSchema = z
  .object({ records: z.array(auditRecordSchema) })
  .meta({ description: 'Changes, the newest first.' })
