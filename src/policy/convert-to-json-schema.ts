import * as z from 'zod'

/** Returns the JSON Schema of a file (draft 2020-12) as authors write it, before values are converted. */
export function convertToJsonSchema(schema: z.ZodType, id: string): Readonly<Record<string, unknown>> {
  const converted = z.toJSONSchema(schema, { target: 'draft-2020-12', io: 'input', unrepresentable: 'any' })
  return splitTypes({ $id: id, ...converted }) as Readonly<Record<string, unknown>>
}

/** Splits a list of types into alternatives of one type each, as strict validators require. */
function splitTypes(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(splitTypes)
  if (typeof schema !== 'object' || schema === null) return schema
  const { type, ...rest } = schema as Readonly<Record<string, unknown>>
  const split = Object.fromEntries(Object.entries(rest).map(([word, value]) => [word, splitTypes(value)]))
  if (!Array.isArray(type)) return type === undefined ? split : { type: splitTypes(type), ...split }
  return { anyOf: type.map(each => ({ type: each as unknown })), ...split }
}
