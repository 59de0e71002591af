import * as z from 'zod'
import { MESSAGE_COUNT_SIGNALS, SIGNAL_NAMES } from '../adaptive/index.ts'
import { durationSchema, encodeSchemaError } from './schema-primitives.ts'

const level = z
  .union([z.number(), z.string()], {
    error: encodeSchemaError('a level', 'write 1.5 up to 30%, or of the last level 0.5'),
  })
  .meta({
    description: 'A factor up to a load; the last level applies above all others.',
    examples: ['1.5 up to 30%', 0.5],
  })

const factor = z
  .union([z.number(), z.string()], { error: encodeSchemaError('a factor', 'write 0.5') })
  .meta({ description: 'Factor that limits are multiplied by.', examples: [0.5] })

const fulls = MESSAGE_COUNT_SIGNALS.map(name =>
  z.strictObject(
    { [name]: z.number({ error: encodeSchemaError('a number of messages', 'write 5000') }) },
    { error: encodeSchemaError('a signal') },
  ),
)

const signal = z
  .union([z.enum(SIGNAL_NAMES), ...fulls], {
    error: encodeSchemaError('a signal', `use ${SIGNAL_NAMES.join(', ')}, or { queue-depth: 5000 }`),
  })
  .meta({
    description:
      'A signal by its name; of one that counts messages, how many are a load of 100 % can be said.',
    examples: ['cpu', { 'queue-depth': 5000 }],
  })

/** Schema of `adaptive`: limits that follow the load. */
export const adaptiveSchema = z
  .strictObject(
    {
      levels: z
        .record(z.string(), level, {
          error: encodeSchemaError(
            'a table of levels',
            'write { low: 1.5 up to 30%, medium: 1 up to 70%, high: 0.5 }',
          ),
        })
        .optional()
        .meta({
          description:
            'Factors by level of load, lowest first. Default: low 1.5 up to 30%, medium 1 up to 70%, high 0.5, unless there are stages.',
        }),
      stages: z
        .union(
          [
            z.literal('default'),
            z.record(
              z.string(),
              z.record(z.string(), factor, {
                error: encodeSchemaError('a table of stages', 'write { 60%: 0.75, 80%: 0.5 }'),
              }),
            ),
          ],
          {
            error: encodeSchemaError(
              'a table of stages',
              'write default, or { cpu: { 60%: 0.75, 80%: 0.5 } }',
            ),
          },
        )
        .optional()
        .meta({ description: 'Factors by thresholds of a signal; the smallest applicable factor counts.' }),
      signals: z
        .array(signal, {
          error: encodeSchemaError('a list of signals', `write [${SIGNAL_NAMES.join(', ')}]`),
        })
        .optional()
        .meta({
          description: 'Signals; the load is the highest of them. Default: cpu, memory, event-loop.',
        }),
      every: durationSchema.optional().meta({ description: 'How often. Default: 10s.' }),
      across: z
        .enum(['node', 'fleet'], { error: encodeSchemaError('whose load counts', 'write node, or fleet') })
        .optional()
        .meta({
          description:
            'Whose load counts: that of this node, or the worst of all nodes of the store. Default: node.',
        }),
      node: z
        .string({ error: encodeSchemaError('the name of a node', 'write a text, as gateway-1') })
        .optional()
        .meta({ description: 'Name of this node among others. Default: its host and process.' }),
    },
    { error: encodeSchemaError('an object', 'write { every: 10s }, or remove it') },
  )
  .meta({ description: 'Limits that follow the load; quotas and exemptions do not.' })
