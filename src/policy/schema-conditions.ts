import * as z from 'zod'
import type { ConditionSpec } from '../conditions/condition.ts'
import {
  booleanSchema,
  descriptionSchema,
  encodeSchemaError,
  textSchema,
  zoneSchema,
} from './schema-primitives.ts'

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()], {
  error: encodeSchemaError('a value to compare with', 'write a text, a number, true, false or null'),
})

const valueTest = {
  equals: scalar.optional().meta({ description: 'Exactly this value.' }),
  in: z
    .array(scalar, { error: encodeSchemaError('a list of values', 'write a list, as [high, emergency]') })
    .optional()
    .meta({ description: 'One of these values.' }),
  range: z
    .tuple(
      [
        z.union([z.number(), z.null()], {
          error: encodeSchemaError('a number or null', 'null leaves a side open'),
        }),
        z.union([z.number(), z.null()], {
          error: encodeSchemaError('a number or null', 'null leaves a side open'),
        }),
      ],
      { error: encodeSchemaError('a range', 'write [from, to], both inclusive; null leaves a side open') },
    )
    .optional()
    .meta({ description: '[from, to], both inclusive; null leaves a side open.' }),
  exists: booleanSchema.optional().meta({ description: 'True if the value exists.' }),
}

const BYTES = encodeSchemaError('a number of bytes', 'write a whole number of bytes, or 10kB, 64KiB')
const bytes = z
  .union([z.int({ error: BYTES }).min(0, { error: BYTES }), z.string({ error: BYTES })], {
    error: BYTES,
  })
  .optional()
const qos = z.union([z.literal(0), z.literal(1), z.literal(2)], {
  error: encodeSchemaError('a QoS', 'write 0, 1 or 2'),
})
const dayText = textSchema(
  'a range of days',
  'write mon-fri, sat,sun or fri-mon',
  'Days of the week.',
  'mon-fri',
)

const conditions = z.lazy(() =>
  z
    .array(conditionSchema, {
      error: encodeSchemaError('a list of conditions', 'write a list, with a dash each'),
    })
    .optional(),
)

/** Schema of `when`: all fields of one object must match. */
export const conditionSchema: z.ZodType<ConditionSpec> = z
  .strictObject(
    {
      description: descriptionSchema.optional(),
      time: textSchema(
        'a time range',
        'write it as 22:00-06:00, in quotes',
        'From inclusive, to exclusive; overnight where the end is not later than the start.',
        '22:00-06:00',
      ).optional(),
      days: z
        .union([dayText, z.array(dayText)], {
          error: encodeSchemaError('a range of days', 'write mon-fri, sat,sun or fri-mon'),
        })
        .optional()
        .meta({ description: 'Days of the week; for an overnight range the day on which it begins.' }),
      zone: zoneSchema.optional(),
      payload: z
        .strictObject(
          {
            field: textSchema(
              'a field',
              'write a path, as priority or alarm.level',
              'Path to a field of the parsed payload.',
              'priority',
              'alarm.level',
              'readings[0].value',
            ).optional(),
            ...valueTest,
          },
          {
            error: encodeSchemaError(
              'a test of a payload',
              'write { field: priority, equals: emergency }, or { equals: ON } for all of it',
            ),
          },
        )
        .optional()
        .meta({
          description:
            'A field of the parsed payload, or the whole payload, and one of equals, in, range, exists.',
        }),
      header: z
        .strictObject(
          {
            name: textSchema('a header name', 'write the name of a header or user property', 'The header.'),
            ...valueTest,
            secret: textSchema(
              'a secret',
              'write a long random text, in quotes',
              'Compared in constant time and never printed; for passwords, tokens and keys.',
            ).optional(),
          },
          { error: encodeSchemaError('a test of a header', 'write { name: x-priority, equals: high }') },
        )
        .optional()
        .meta({ description: 'A header or user property, and one of equals, in, range, exists, secret.' }),
      size: z
        .strictObject(
          { min: bytes, max: bytes },
          { error: encodeSchemaError('a range of sizes', 'write { max: 10kB }') },
        )
        .optional()
        .meta({ description: 'Payload bytes, inclusive: numbers or 10kB (k = 1000, Ki = 1024).' }),
      qos: z
        .union([qos, z.array(qos)], {
          error: encodeSchemaError('a QoS', 'write 0, 1 or 2, or a list of them'),
        })
        .optional()
        .meta({ description: 'One QoS, or a list of alternatives.' }),
      retain: booleanSchema.optional().meta({ description: 'True for retained messages.' }),
      will: booleanSchema.optional().meta({ description: 'True for the will of a disconnected client.' }),
      protocol: z
        .enum(['mqtt', 'nats'], { error: encodeSchemaError('a protocol') })
        .optional()
        .meta({ description: 'Protocol of the message.' }),
      all: conditions.meta({ description: 'All of these match.' }),
      any: conditions.meta({ description: 'At least one of these matches.' }),
      not: z.lazy(() => conditionSchema.optional()).meta({ description: 'This does not match.' }),
    },
    { error: encodeSchemaError('a condition', 'write an object, as { time: "22:00-06:00" }') },
  )
  .meta({ id: 'condition', description: 'A condition: all of its fields must match.' })
