import * as z from 'zod'
import { PolicyError } from '../../core/errors.ts'
import { parseBytes, parseDuration, parseMoment } from '../../core/units.ts'
import { encodeSchemaError } from '../../policy/index.ts'
import { parseShareComparison } from './comparison.ts'

/** Returns a schema of a text or number that `parse` converts; its PolicyError becomes the problem of the value. */
export function parsedSchema<T>(noun: string, remedy: string, parse: (written: string | number) => T) {
  const error = encodeSchemaError(noun, remedy)
  return z.union([z.string({ error }), z.number({ error })], { error }).transform((written, context): T => {
    try {
      return parse(written)
    } catch (cause) {
      if (!(cause instanceof PolicyError)) throw cause
      context.addIssue({ code: 'custom', message: error })
      return z.NEVER
    }
  })
}

export const text = z.string({ error: encodeSchemaError('a text', 'put it in quotes') })

export const texts = z.array(text, {
  error: encodeSchemaError('a list of texts', 'write a list, as [admin]'),
})

export const yesOrNo = z.boolean({
  error: encodeSchemaError('true or false', 'write true or false, without quotes'),
})

/** Milliseconds. */
export const duration = parsedSchema('a duration', 'write a number and a unit, as 250ms, 1s or 5m', written =>
  parseDuration(String(written)),
)

/** Bytes. */
export const size = parsedSchema('a number of bytes', 'write a whole number of bytes, or 10kB', parseBytes)

/** Milliseconds since the epoch. */
export const moment = parsedSchema(
  'a moment',
  'write it as 2026-01-31T12:00:00Z, or +01:00 instead of Z',
  written => parseMoment(String(written)),
)

export const qos = z.union([z.literal(0), z.literal(1), z.literal(2)], {
  error: encodeSchemaError('0, 1 or 2'),
})

export const shareComparison = parsedSchema('a share', 'write it as "< 0.1%"', parseShareComparison)
