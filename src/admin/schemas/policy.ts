import * as z from 'zod'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { problemSchema, reasonSchema, timeSchema } from './common.ts'

const overlayText = z.string().max(MAX_SIZES.adminBodyBytes).meta({
  description: 'YAML that is merged into the policy files, rules by name. Variables are not substituted.',
})

/** GET /policy */
export const policySchema = z
  .object({
    etag: z.string(),
    appliedAtMs: timeSchema,
    files: z.array(z.string()),
    document: z.unknown().meta({ description: 'The merged policy in force, without its secrets.' }),
    warnings: z.array(problemSchema),
    overlay: z
      .object({
        file: z.string(),
        text: z.string().nullable().meta({ description: 'Null for a token that is not an admin’s.' }),
      })
      .nullable()
      .meta({ description: 'Null if the policy cannot be changed through the API.' }),
  })
  .meta({ description: 'The policy in force. The header ETag is its `etag`.' })

export const overlayBodySchema = z.strictObject({ overlay: overlayText })
export const overlayChangeSchema = z.strictObject({ overlay: overlayText, reason: reasonSchema })

export const validationSchema = z.object({
  ok: z.boolean(),
  problems: z.array(problemSchema),
  warnings: z.array(problemSchema),
})

export const diffSchema = z
  .object({
    added: z.array(z.string()),
    removed: z.array(z.string()),
    changed: z.array(z.object({ rule: z.string(), before: z.unknown(), after: z.unknown() })),
    other: z
      .array(z.string())
      .meta({ description: 'Other parts of the policy that differ, as exempt, tiers.' }),
  })
  .meta({ description: 'Rules that an overlay would add, remove and change.' })

export const policyVersionSchema = z.object({
  id: z.int(),
  atMs: timeSchema,
  by: z.string(),
  reason: z.string(),
})
export const policyVersionsSchema = z.object({ versions: z.array(policyVersionSchema) })

export const rollbackBodySchema = z.strictObject({ to: z.int().min(1), reason: reasonSchema })
export const policyShadowBodySchema = z.strictObject({
  shadow: z.union([z.boolean(), z.string().max(16)]).meta({
    description: 'true, false, or the share of the senders for which rules refuse nothing, as 90%.',
  }),
  reason: reasonSchema,
})
export const reloadBodySchema = z.strictObject({ reason: reasonSchema })
export const policyChangedSchema = z.object({
  etag: z.string(),
  version: z.int().nullable().meta({ description: 'Version of the overlay; null after a reload.' }),
})

export const ruleBodySchema = z
  .looseObject({ reason: reasonSchema })
  .meta({ description: 'Fields of a rule of a policy: limit, topic, per, enabled, shadow and others.' })

/** POST /rules */
export const rulesBodySchema = z.strictObject({
  rules: z
    .array(z.looseObject({ name: z.string().min(1).max(1_024) }))
    .min(1)
    .meta({ description: 'Rules as a policy has them.' }),
  reason: reasonSchema,
})
