import * as z from 'zod'
import { SIGNAL_NAMES } from '../adapt/index.ts'
import { durationText, expects } from './schema-words.ts'

const level = z
  .union([z.number(), z.string()], {
    error: expects('a level', 'write 1.5 up to 30%, or of the last level 0.5'),
  })
  .meta({
    description: 'A factor, up to a load; the last level holds for all above.',
    examples: ['1.5 up to 30%', 0.5],
  })

const factor = z
  .union([z.number(), z.string()], { error: expects('a factor', 'write 0.5') })
  .meta({ description: 'What limits are multiplied by.', examples: [0.5] })

/** Limits that follow the load. */
export const adaptiveSchema = z
  .strictObject(
    {
      levels: z
        .record(z.string(), level, {
          error: expects('a table of levels', 'write { low: 1.5 up to 30%, medium: 1 up to 70%, high: 0.5 }'),
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
                error: expects('a table of stages', 'write { 60%: 0.75, 80%: 0.5 }'),
              }),
            ),
          ],
          { error: expects('a table of stages', 'write default, or { cpu: { 60%: 0.75, 80%: 0.5 } }') },
        )
        .optional()
        .meta({ description: 'Factors by what a signal is above; of all that hold, the least counts.' }),
      signals: z
        .array(z.enum(SIGNAL_NAMES, { error: expects('a signal') }), {
          error: expects('a list of signals', `write [${SIGNAL_NAMES.join(', ')}]`),
        })
        .optional()
        .meta({ description: 'What is looked at; the load is the worst of them. Default: all.' }),
      every: durationText.optional().meta({ description: 'How often. Default: 10s.' }),
    },
    { error: expects('an object', 'write { every: 10s }, or remove it') },
  )
  .meta({ description: 'Limits that follow the load; quotas and exemptions do not.' })
