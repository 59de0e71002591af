import * as z from 'zod'
import { OUTCOMES } from '../core/decision.ts'
import { DURATION_PATTERN, PERCENT_PATTERN, RATE_PATTERN } from './json-schema-regexes.ts'

/** Encodes the error of a wrong value, `"x" is not NOUN`, with its remedy. Decoded by {@link decodeExpectation}. */
export function encodeSchemaError(noun: string, remedy?: string): string {
  return remedy === undefined ? noun : `${noun}\n${remedy}`
}

/** Returns the noun and remedy encoded by {@link encodeSchemaError}; empty if the schema gives none. */
export function decodeExpectation(text: string): { readonly noun?: string; readonly remedy?: string } {
  const [noun, remedy] = text.split('\n')
  return noun ? { noun, ...(remedy === undefined ? {} : { remedy }) } : {}
}

/** Returns a schema of a text with its noun, for messages and editors. */
export function textSchema(
  noun: string,
  remedy: string,
  description: string,
  ...examples: string[]
): z.ZodString {
  return z
    .string({ error: encodeSchemaError(noun, remedy) })
    .min(1, { error: encodeSchemaError(noun, remedy) })
    .meta({ description, ...(examples.length > 0 ? { examples } : {}) })
}

export const nameSchema = textSchema(
  'a name',
  'write a text, in quotes if need be',
  'Unique name, used for state and reports.',
)
export const descriptionSchema = z
  .string({ error: encodeSchemaError('a text', 'put it in quotes') })
  .meta({ description: 'Text for readers of the policy.' })
export const durationSchema = textSchema(
  'a duration',
  'write a number and a unit, as 250ms, 30s, 5m, 1h or 7d',
  'A duration.',
  '250ms',
  '30s',
  '5m',
  '1h',
  '7d',
).meta({ pattern: DURATION_PATTERN })
export const rateSchema = textSchema(
  'a rate',
  'write it as 10/s, 100 per minute, 5 per 5 minutes, 1MB/s or unlimited, each with an optional burst N',
  'Units per time: messages, or bytes (k = 1000, Ki = 1024), with an optional burst.',
  '10/s',
  '10/s burst 20',
  '100 per minute',
  '5 per 5 minutes',
  '1MB/s',
  'unlimited',
).meta({ pattern: RATE_PATTERN })
export const percentSchema = textSchema(
  'a percentage',
  'write a number above 0 and up to 100 with a percent sign, as 80%',
  'A percentage.',
  '80%',
).meta({ pattern: PERCENT_PATTERN })
const SHADOW = encodeSchemaError(
  'true, false or a percentage',
  'write true or false, without quotes, or a share of the senders, as 90%',
)
/** Schema of `shadow` of a rule or policy. */
export const shadowSchema = z.union(
  [z.boolean(), z.string({ error: SHADOW }).meta({ pattern: PERCENT_PATTERN })],
  {
    error: SHADOW,
  },
)
export const zoneSchema = textSchema(
  'a time zone',
  'write an IANA name, as Europe/Berlin or UTC',
  'IANA name of a time zone. Default: UTC.',
  'UTC',
  'Europe/Berlin',
)
export const templateSchema = textSchema(
  'a template',
  'write a text with {client}, {user}, {ip}, {header.NAME} or {topic.CAPTURE} in it, in quotes',
  'A text with {client}, {user}, {ip}, {header.NAME} or {topic.CAPTURE} in it.',
  '{client}',
  '{header.api-key}',
  '{topic.device}',
)

export const booleanSchema = z.boolean({
  error: encodeSchemaError('true or false', 'write true or false, without quotes'),
})

export function createWholeNumberSchema(least: number, description: string): z.ZodNumber {
  const error = encodeSchemaError(`a whole number of at least ${least}`, `use at least ${least}`)
  return z.int({ error }).min(least, { error }).meta({ description })
}

export const exceededWords = OUTCOMES.filter(outcome => outcome !== 'deliver')
