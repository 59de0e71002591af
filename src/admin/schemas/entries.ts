import * as z from 'zod'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { durationSchema, nextSchema, reasonSchema, timeSchema } from './common.ts'

const entryFields = {
  id: z.string(),
  reason: z.string(),
  code: z.string().optional().meta({ description: 'Category of the operator’s choice.' }),
  addedBy: z.string(),
  addedAtMs: timeSchema,
  sequence: z.int().optional().meta({ description: 'Order of entries of the same millisecond.' }),
  expiresAtMs: timeSchema.optional().meta({ description: 'Absent: until it is removed.' }),
}

const subjectFields = {
  client: z.string().optional(),
  user: z.string().optional(),
  device: z.string().optional(),
  apiKey: z.string().optional().meta({ description: 'SHA-256 of the key.' }),
  ip: z.string().optional().meta({ description: 'Address or network.' }),
}

const lists = z.array(z.string()).readonly().optional()

export const banSchema = z.object({
  ...entryFields,
  ...subjectFields,
  outcome: z.enum(['drop', 'reject', 'disconnect']).optional(),
})
export const overrideSchema = z.object({
  ...entryFields,
  ...subjectFields,
  limit: z.string().meta({ examples: ['x2', 'unlimited', '100/s burst 200'] }),
  rules: lists.meta({ description: 'Rules that it applies to; absent: all.' }),
})
export const tierEntrySchema = z.object({ ...entryFields, ...subjectFields, tier: z.string() })
export const exemptionSchema = z.looseObject({
  ...entryFields,
  name: z.string(),
  topics: lists,
  clients: lists,
  devices: lists,
  users: lists,
  roles: lists,
  ips: lists,
})

/** What every change of an entry says. */
const changeFields = {
  for: durationSchema.optional().meta({ description: 'Default: until it is removed.' }),
  reason: reasonSchema,
  code: z.string().min(1).max(MAX_SIZES.reasonChars).optional(),
}

export const banBodySchema = z.strictObject({
  ...changeFields,
  outcome: z.enum(['drop', 'reject', 'disconnect']).optional().meta({ description: 'Default: reject.' }),
})
export const overrideBodySchema = z.strictObject({
  ...changeFields,
  limit: z
    .string()
    .max(256)
    .meta({ description: 'unlimited, x2, or a rate.', examples: ['x2'] }),
  rules: z.array(z.string().max(1_024)).max(1_000).optional(),
})
export const tierBodySchema = z.strictObject({ ...changeFields, tier: z.string().max(1_024) })
export const exemptionBodySchema = z.looseObject({ ...changeFields }).meta({
  description: 'Fields of an exemption of a policy: clients, users, devices, topics, ips, roles, on, when.',
})

/** Answer to a change of an entry. */
export const changedFields = {
  persisted: z.boolean().meta({
    description: 'True if the store holds it, so that it survives a restart and other nodes get it.',
  }),
  nodes: z.object({
    confirmed: z.array(z.string()).meta({ description: 'Nodes where it is in effect.' }),
    pending: z.array(z.string()).meta({ description: 'Nodes that have not confirmed it yet.' }),
  }),
}

export const changedSchema = <T extends z.ZodType>(entry: T) => z.object({ entry, ...changedFields })

export const listSchema = <T extends z.ZodType>(entry: T) =>
  z.object({ entries: z.array(entry), total: z.int(), next: nextSchema })
