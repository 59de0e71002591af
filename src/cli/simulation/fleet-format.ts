import * as z from 'zod'
import { PolicyError } from '../../core/errors.ts'
import { parseBytes, parsePercent, parseRate } from '../../core/units.ts'
import { encodeSchemaError, type FileFormat } from '../../policy/index.ts'
import {
  duration,
  moment,
  parsedSchema,
  qos,
  shareComparison,
  text,
  yesOrNo,
} from '../documents/document-schemas.ts'

/** Maximum devices of a group, and topics of a device. */
const MAX_DEVICES = 1_000_000
const MAX_TOPICS = 10_000

const share = parsedSchema('a share', 'write it as 20%', written => parsePercent(String(written)))

/** Messages per millisecond. */
const rate = parsedSchema('a rate', 'write it as 2/s, 10/min or 1 per 5s', written => {
  const { count, periodMs, burst, bytes, per } = parseRate(String(written))
  if (count === Infinity || bytes || burst !== undefined || per !== undefined) throw new PolicyError([])
  return count / periodMs
})

/** Milliseconds after midnight UTC. */
const timeOfDay = parsedSchema('a time of day', 'write it as "17:00", in quotes', written => {
  const [, hours, minutes] = /^([01]\d|2[0-3]):([0-5]\d)$/.exec(String(written)) ?? []
  if (hours === undefined) throw new PolicyError([])
  return (Number(hours) * 60 + Number(minutes)) * 60_000
})

/** Bytes, from the least to the most. */
const sizeRange = parsedSchema('a number of bytes', 'write it as 120 or 80-200', written => {
  const [least, most] = String(written)
    .split('-')
    .map(part => parseBytes(part.trim()))
  if (least === undefined || (most !== undefined && most < least)) throw new PolicyError([])
  return { least, most: most ?? least }
})

function wholeNumber(most: number, example: string) {
  const error = encodeSchemaError(`a whole number from 1 to ${most}`, `write ${example}`)
  return z.int({ error }).min(1, { error }).max(most, { error })
}

const send = z.union(
  [
    z.strictObject({ every: duration, jitter: share.optional() }),
    z.strictObject({ poisson: rate }),
    z.strictObject({
      diurnal: z.strictObject(
        { low: rate, high: rate, peak: timeOfDay },
        {
          error: encodeSchemaError('a day', 'write { low: 1/min, high: 5/s, peak: "17:00" }'),
        },
      ),
    }),
    z.strictObject({ flood: rate }),
  ],
  {
    error: encodeSchemaError(
      'a pattern of messages',
      'write { every: 10s }, { poisson: 2/s }, { diurnal: … } or { flood: 1000/s }',
    ),
  },
)

const fault = z.strictObject(
  {
    disconnect: duration,
    at: duration.optional(),
    every: duration.optional(),
    then: z.enum(['flush', 'forget'], { error: encodeSchemaError('flush or forget') }).optional(),
    flushEvery: duration.optional(),
  },
  { error: encodeSchemaError('a fault', 'write { at: 2m, disconnect: 60s }') },
)

const connects = z.strictObject(
  { every: duration, slow: duration.optional() },
  { error: encodeSchemaError('an interval of connects', 'write { every: 200ms }') },
)

const ignored = z.enum(['puback', 'disconnect'], { error: encodeSchemaError('puback or disconnect') })

const group = z.strictObject(
  {
    name: text.regex(/^[\w-]+$/, { error: encodeSchemaError('a name', 'use letters, digits, - and _') }),
    count: wholeNumber(MAX_DEVICES, 'count: 500').optional(),
    topic: text
      .min(1, { error: encodeSchemaError('a topic', 'write it as fleet/a/{client}/telemetry') })
      .optional(),
    topics: wholeNumber(MAX_TOPICS, 'topics: 10').optional(),
    values: z
      .record(z.string(), z.array(text).min(1, { error: encodeSchemaError('a list of texts') }), {
        error: encodeSchemaError('an object of lists', 'write { site: [a, b] }'),
      })
      .optional(),
    client: text.optional(),
    user: text.optional(),
    ip: text.optional(),
    qos: qos.optional(),
    retain: yesOrNo.optional(),
    size: sizeRange.optional(),
    send: send.optional(),
    connects: connects.optional(),
    from: duration.optional(),
    until: duration.optional(),
    drift: share.optional(),
    duplicate: share.optional(),
    faults: z
      .array(fault, { error: encodeSchemaError('a list of faults', 'begin each with a dash') })
      .optional(),
    ignores: z
      .array(ignored, { error: encodeSchemaError('a list of answers', 'write [puback, disconnect]') })
      .optional(),
    expect: z
      .strictObject(
        { delivered: shareComparison },
        {
          error: encodeSchemaError('an expectation', 'write { delivered: ">= 99.9%" }'),
        },
      )
      .optional(),
  },
  { error: encodeSchemaError('a group of devices', 'write an object, with name, topic and send') },
)

const schema = z.strictObject(
  {
    $schema: z.string().optional(),
    description: text.optional(),
    seed: z.int({ error: encodeSchemaError('a whole number', 'write seed: 1') }).optional(),
    start: moment.optional(),
    for: duration.optional(),
    fleet: z
      .array(group, { error: encodeSchemaError('a list of groups', 'begin each with a dash') })
      .min(1, { error: encodeSchemaError('a list of groups', 'write at least one') }),
  },
  { error: encodeSchemaError('a fleet file', 'write an object, with for and fleet') },
)

export type FleetDocument = z.output<typeof schema>
/** Devices that behave alike. */
export type FleetGroup = z.output<typeof group>
export type SendPattern = z.output<typeof send>
export type FleetFault = z.output<typeof fault>

/** Words that authors of other simulators write. */
const OTHER_WORDS: Readonly<Record<string, string>> = {
  devices: 'use `count`',
  clients: 'use `count`',
  pattern: 'use `send`',
  interval: 'use `send: { every: 10s }`',
  rate: 'use `send: { poisson: 2/s }`',
  groups: 'use `fleet`',
  duration: 'use `for`',
  payload: 'use `size`',
}

/** Format of files that describe a fleet. */
export const FLEET_FORMAT: FileFormat<FleetDocument> = {
  schema,
  noun: 'fleet file',
  schemaName: 'the words of a fleet in docs/rollout.md',
  jsonSchema: () => z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }),
  hintForKey: key => (Object.hasOwn(OTHER_WORDS, key) ? OTHER_WORDS[key] : undefined),
}
