import { PROPERTY } from './packet-types.ts'
import { readVariableInteger } from './variable-integer.ts'

/** A property of an MQTT 5 packet, as a place in its bytes. */
export interface Property {
  readonly id: number
  /** Start of the identifier, of the value, and the end of the value. */
  readonly start: number
  readonly valueStart: number
  readonly end: number
}

export interface PropertyList {
  readonly properties: readonly Property[]
  /** Start of the length field, of the first property, and the end of the last. */
  readonly start: number
  readonly bodyStart: number
  readonly end: number
}

type ValueKind = 'byte' | 'two' | 'four' | 'variable' | 'text' | 'pair'

/** Kinds of values by property identifier; a text is any field with a length of two bytes. */
const KINDS: Readonly<Record<number, ValueKind>> = {
  1: 'byte',
  2: 'four',
  3: 'text',
  8: 'text',
  9: 'text',
  11: 'variable',
  17: 'four',
  18: 'text',
  19: 'two',
  21: 'text',
  22: 'text',
  23: 'byte',
  24: 'four',
  25: 'byte',
  26: 'text',
  28: 'text',
  31: 'text',
  33: 'two',
  34: 'two',
  35: 'two',
  36: 'byte',
  37: 'byte',
  38: 'pair',
  39: 'four',
  40: 'byte',
  41: 'byte',
  42: 'byte',
}

/** Reads the property list that starts at `start` and ends before `limit`. Returns undefined if it is malformed. */
export function readProperties(bytes: Buffer, start: number, limit: number): PropertyList | undefined {
  const length = readVariableInteger(bytes, start, limit)
  if (length === undefined || length.end + length.value > limit) return undefined
  const end = length.end + length.value
  const properties: Property[] = []
  for (let at = length.end; at < end; ) {
    const id = bytes[at]!
    const valueEnd = endOfValue(bytes, KINDS[id], at + 1, end)
    if (valueEnd === undefined) return undefined
    properties.push({ id, start: at, valueStart: at + 1, end: valueEnd })
    at = valueEnd
  }
  return { properties, start, bodyStart: length.end, end }
}

function endOfValue(
  bytes: Buffer,
  kind: ValueKind | undefined,
  start: number,
  limit: number,
): number | undefined {
  switch (kind) {
    case undefined:
      return undefined
    case 'byte':
      return within(start + 1, limit)
    case 'two':
      return within(start + 2, limit)
    case 'four':
      return within(start + 4, limit)
    case 'variable':
      return readVariableInteger(bytes, start, limit)?.end
    case 'text':
      return endOfText(bytes, start, limit)
    case 'pair': {
      const nameEnd = endOfText(bytes, start, limit)
      return nameEnd === undefined ? undefined : endOfText(bytes, nameEnd, limit)
    }
    default:
      return kind satisfies never
  }
}

function within(end: number, limit: number): number | undefined {
  return end <= limit ? end : undefined
}

/** Returns the end of a field with a length of two bytes; undefined if it ends behind `limit`. */
export function endOfText(bytes: Buffer, start: number, limit: number): number | undefined {
  if (start + 2 > limit) return undefined
  return within(start + 2 + bytes.readUInt16BE(start), limit)
}

export function findProperty(list: PropertyList | undefined, id: number): Property | undefined {
  return list?.properties.find(property => property.id === id)
}

/** Returns a two-byte or four-byte number; undefined if the property is absent. */
export function readNumber(bytes: Buffer, property: Property | undefined): number | undefined {
  if (property === undefined) return undefined
  return bytes.readUIntBE(property.valueStart, property.end - property.valueStart)
}

/** Returns a text; undefined if the property is absent. */
export function readText(bytes: Buffer, property: Property | undefined): string | undefined {
  return property === undefined ? undefined : bytes.toString('utf8', property.valueStart + 2, property.end)
}

/** Returns the user properties; the values of a repeated name are a list. Undefined if there are none. */
export function readUserProperties(
  bytes: Buffer,
  list: PropertyList | undefined,
): Readonly<Record<string, string | readonly string[]>> | undefined {
  let headers: Record<string, string | string[]> | undefined
  for (const { id, valueStart, end } of list?.properties ?? []) {
    if (id !== PROPERTY.userProperty) continue
    const nameEnd = valueStart + 2 + bytes.readUInt16BE(valueStart)
    const name = bytes.toString('utf8', valueStart + 2, nameEnd)
    const value = bytes.toString('utf8', nameEnd + 2, end)
    headers ??= Object.create(null) as Record<string, string | string[]>
    const before = headers[name]
    if (before === undefined) headers[name] = value
    else if (typeof before === 'string') headers[name] = [before, value]
    else before.push(value)
  }
  return headers
}
