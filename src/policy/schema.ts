import * as z from 'zod'
import { convertToJsonSchema } from './convert-to-json-schema.ts'
import { adaptiveSchema } from './schema-adaptive.ts'
import { behaviourSchema } from './schema-behaviour.ts'
import { breakerSchema, feedbackSchema } from './schema-breaker-and-feedback.ts'
import { encodeSchemaError, shadowSchema, templateSchema, textSchema } from './schema-primitives.ts'
import { exemptSchema, ruleSchema } from './schema-rules.ts'
import { storeSchema } from './schema-store.ts'
import { penaltiesSchema, tiersSchema } from './schema-tiers-and-penalties.ts'

const roles = z
  .union(
    [
      templateSchema,
      z.strictObject({
        from: templateSchema,
        map: z
          .record(
            z.string(),
            z.array(textSchema('a role', 'put it in quotes', 'A role.'), {
              error: encodeSchemaError('a list of roles', 'write a list, as [admin]'),
            }),
            { error: encodeSchemaError('a table of roles', 'write { operator: [admin] }') },
          )
          .meta({ description: 'Roles for each value of `from`.' }),
      }),
    ],
    {
      error: encodeSchemaError(
        'roles',
        'write a template, or { from: "{user}", map: { operator: [admin] } }',
      ),
    },
  )
  .meta({ description: 'Roles: the text of a template is one role, or is looked up in a table.' })

const senders = z
  .strictObject(
    {
      client: templateSchema.optional(),
      user: templateSchema.optional(),
      device: templateSchema.optional(),
      apiKey: templateSchema.optional(),
      tier: templateSchema.optional(),
      roles: roles.optional(),
    },
    { error: encodeSchemaError('an object', 'write { device: "{topic.device}" }') },
  )
  .meta({ description: 'Identity of the sender, in addition to what the broker knows.' })

/** Schema of the whole policy document. Unknown keys are errors. */
export const policySchema = z
  .strictObject(
    {
      $schema: z.string().optional().meta({ description: 'For editors.' }),
      version: z
        .literal(1, { error: encodeSchemaError('a version', 'write version: 1') })
        .optional()
        .meta({ description: 'The version of the format: 1.' }),
      description: z.string({ error: encodeSchemaError('a text', 'put it in quotes') }).optional(),
      dialect: z
        .enum(['mqtt', 'nats'], { error: encodeSchemaError('a dialect') })
        .optional()
        .meta({ description: 'How topic patterns are read. Default: mqtt.' }),
      shadow: shadowSchema.optional().meta({
        description:
          'For rules without a `shadow` of their own: true, or the share of the senders for which they refuse nothing. Default: false.',
        examples: [true, '90%'],
      }),
      store: storeSchema.optional(),
      senders: senders.optional(),
      tiers: tiersSchema.optional(),
      exempt: z
        .array(exemptSchema, {
          error: encodeSchemaError('a list of exemptions', 'begin each with a dash, or remove it'),
        })
        .optional()
        .meta({ description: 'Messages exempt from all rules; the first match decides.' }),
      rules: z
        .array(ruleSchema, {
          error: encodeSchemaError('a list of rules', 'begin each with a dash, or remove it'),
        })
        .optional()
        .meta({ description: 'Limits and quotas; every rule that matches a message is applied.' }),
      adaptive: adaptiveSchema.optional(),
      feedback: feedbackSchema.optional(),
      breaker: breakerSchema.optional(),
      penalties: penaltiesSchema.optional(),
      behaviour: behaviourSchema.optional(),
    },
    { error: encodeSchemaError('a policy', 'write an object, with version: 1 and a list of rules') },
  )
  .meta({ title: 'topicgate policy', description: 'Limits for the messages that pass a broker.' })

/** A policy document of valid form. */
export type PolicyDocument = z.infer<typeof policySchema>
export type PolicyRule = z.infer<typeof ruleSchema>
export type PolicyExemption = z.infer<typeof exemptSchema>

/** Returns the JSON Schema of the policy file (draft 2020-12), for editors. */
export function policyJsonSchema(): Readonly<Record<string, unknown>> {
  return convertToJsonSchema(policySchema, 'urn:topicgate:policy:1')
}
