import { isDeepStrictEqual } from 'node:util'
import { describe, expect, it } from 'vitest'
import { type FieldPath, readField } from '../../../src/core/field-path.ts'
import {
  isJson,
  NEEDS_FULL_PARSE,
  NOT_JSON,
  parseJson,
  readJsonField,
} from '../../../src/core/json-scanner.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { type Random, random } from '../../support/random.ts'

/** Returns the field that JSON.parse finds. */
function parseField(bytes: Buffer, path: FieldPath): unknown {
  let root: unknown
  try {
    root = JSON.parse(bytes.toString())
  } catch {
    return NOT_JSON
  }
  return readField(root, path)
}

const NAMES = [
  'a',
  'b',
  'ab',
  '',
  '__proto__',
  'length',
  '0',
  'x'.repeat(40),
  'ä',
  '€',
  '\ufffd',
  'a"b',
  'a\\',
]
const TEXTS = [
  ...NAMES,
  'normal',
  'say "hi"',
  'back\\slash',
  'line\nfeed',
  '😀',
  '\ud800',
  'y'.repeat(70),
  '\x7f',
]
const SCALARS = [
  '0',
  '-0',
  '1',
  '-12.5',
  '1e5',
  '2E-3',
  '0.1e+2',
  '123456789012345678901',
  'true',
  'false',
  'null',
]

/** Writes a random document as text: with spaces, repeated names and escapes. */
function writeJson(chance: Random, depth: number): string {
  const space = (): string => (chance.chance(0.1) ? chance.pick([' ', '\n', '\t', '\r', '  ']) : '')
  const padded = (text: string): string => space() + text + space()
  const kind = depth === 0 ? 0 : chance.int(0, 3)
  if (kind <= 1) {
    return padded(chance.chance(0.5) ? chance.pick(SCALARS) : writeText(chance, chance.pick(TEXTS)))
  }
  const members = Array.from({ length: chance.int(0, 4) }, () => {
    const value = writeJson(chance, depth - 1)
    return kind === 2 ? value : `${padded(writeText(chance, chance.pick(NAMES)))}:${value}`
  })
  const inside = members.length === 0 ? space() : members.join(',')
  return padded(kind === 2 ? `[${inside}]` : `{${inside}}`)
}

/** Writes a string; one in ten has an escape that it does not need. */
function writeText(chance: Random, text: string): string {
  const plain = JSON.stringify(text)
  if (!chance.chance(0.1) || !/^[a-z]/.test(text)) return plain
  return `"\\u${text.charCodeAt(0).toString(16).padStart(4, '0')}${plain.slice(2)}`
}

const BYTES = [
  ...Buffer.from('{}[]:,"\\u0019-+.eEtrfnl \n\t/ab'),
  0,
  0x1f,
  0x7f,
  0x80,
  0xc3,
  0xef,
  0xbb,
  0xbf,
  0xff,
]

/** Changes a few bytes, or cuts the document off. */
function mutate(chance: Random, bytes: Buffer): Buffer {
  let changed = bytes
  for (let times = chance.int(1, 3); times > 0; times--) {
    const at = chance.int(0, changed.length)
    const removed = chance.int(0, 2)
    const added = chance.chance(0.7) ? [chance.pick(BYTES)] : []
    changed = Buffer.concat([changed.subarray(0, at), Buffer.from(added), changed.subarray(at + removed)])
  }
  return chance.chance(0.2) ? changed.subarray(0, chance.int(0, changed.length)) : changed
}

function randomPath(chance: Random): FieldPath {
  return Array.from({ length: chance.int(0, 3) }, () =>
    chance.chance(0.3) ? chance.int(0, 2) : chance.pick(NAMES),
  )
}

/** Returns texts of up to `most` parts, in all combinations. */
function* combinations(parts: readonly string[], most: number): Generator<string> {
  yield ''
  if (most === 0) return
  for (const rest of combinations(parts, most - 1)) for (const part of parts) yield rest + part
}

function isParsed(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

describe('the scanner of JSON', () => {
  it('finds what JSON.parse finds, in random and broken documents', () => {
    const chance = random(20_261)
    const counts = { found: 0, absent: 0, invalid: 0, uncertain: 0 }
    for (let round = 0; round < 6_000; round++) {
      const written = Buffer.from(writeJson(chance, chance.int(1, 5)))
      const bytes = chance.chance(0.5) ? written : mutate(chance, written)
      for (let times = 0; times < 3; times++) {
        const path = randomPath(chance)
        const [expected, actual] = [parseField(bytes, path), readJsonField(bytes, path)]
        if (actual === NEEDS_FULL_PARSE) counts.uncertain++
        else if (actual === NOT_JSON) counts.invalid++
        else if (actual === undefined) counts.absent++
        else counts.found++
        const isSame =
          actual === NEEDS_FULL_PARSE ? expected !== NOT_JSON : isDeepStrictEqual(actual, expected)
        if (!isSame) expect({ text: bytes.toString(), path, actual }).toEqual({ expected })
      }
      if (isJson(bytes) !== (parseField(bytes, []) !== NOT_JSON)) expect.fail(bytes.toString())
    }
    // Each result is frequent enough to be tested.
    expect(Math.min(...Object.values(counts))).toBeGreaterThan(300)
  })

  it('accepts what JSON.parse accepts, of all short combinations', () => {
    const structure = ['{', '}', '[', ']', ':', ',', '"', '"a"', '1', ' ', '\\', '\x01']
    const numbers = ['0', '1', '-', '+', '.', 'e', 'E']
    for (const text of [...combinations(structure, 4), ...combinations(numbers, 5)])
      if (isJson(Buffer.from(text)) !== isParsed(text)) expect.fail(JSON.stringify(text))
    for (const word of ['true', 'false', 'null', '"\\u00e4"', '"\\n\\/"'])
      for (let length = 0; length <= word.length; length++) {
        expect([word, length, isJson(Buffer.from(word.slice(0, length)))]).toEqual([
          word,
          length,
          isParsed(word.slice(0, length)),
        ])
      }
  })

  it('finds every special byte in long strings, at every position', () => {
    for (let at = 0; at < 80; at++) {
      for (const special of ['"', '\\', '\x1f', '\n', '\\"', '\\u00e4', '\xff', '\x7f']) {
        const text = `{"s":"${'p'.repeat(at)}${special}${'q'.repeat(80 - at)}"}`
        const bytes = Buffer.from(text, 'latin1')
        expect([text, readJsonField(bytes, ['s'])]).toEqual([text, parseField(bytes, ['s'])])
      }
    }
  })

  it('takes the last of several members of one name', () => {
    const read = (text: string, path: FieldPath): unknown => readJsonField(Buffer.from(text), path)
    expect(read('{"a":1,"a":2}', ['a'])).toBe(2)
    expect(read('{"a":{"b":1},"a":{}}', ['a', 'b'])).toBeUndefined()
    expect(read('{"a":{"b":1},"a":5}', ['a', 'b'])).toBeUndefined()
    expect(read('{"a":{"b":1,"b":2},"c":{"b":3}}', ['a', 'b'])).toBe(2)
    expect(read('{"__proto__":{"b":1}}', ['__proto__', 'b'])).toBe(1)
  })

  it('leaves names that are escaped or not ASCII to the parser', () => {
    const read = (text: string, path: FieldPath): unknown => readJsonField(Buffer.from(text), path)
    expect(read('{"\\u0061":1}', ['a'])).toBe(NEEDS_FULL_PARSE)
    expect(read('{"ä":1}', ['ä'])).toBe(NEEDS_FULL_PARSE)
    expect(read('{"\\u0061":1', ['a'])).toBe(NOT_JSON)
    expect(read('{"b":{"\\u0061":1},"a":2}', ['a'])).toBe(2)
  })

  it('reads containers of any depth, and documents of the maximum size', () => {
    const half = MAX_SIZES.parsedPayloadBytes / 2
    const nested = Buffer.from('['.repeat(half) + ']'.repeat(half))
    expect(isJson(nested)).toBe(true)
    expect(isJson(nested.subarray(1))).toBe(false)
    expect(isJson(Buffer.from('['.repeat(2 * half)))).toBe(false)
    const list = Buffer.from(`[${'1,'.repeat(half - 2)}42]`)
    expect(readJsonField(list, [half - 2])).toBe(42)
    expect(readJsonField(list, [half - 1])).toBeUndefined()
  })

  it('keeps nothing of an earlier document', () => {
    expect(isJson(Buffer.from('{"a":[1,2,3],"b":"a long text"}'))).toBe(true)
    for (const text of ['{"a":[1,2', '{"a":"x', '[', 'tru', '"\\u00', '-', '1.', '{"a"']) {
      expect([text, isJson(Buffer.from(text))]).toEqual([text, false])
    }
  })

  it('reads bytes that are no Buffer', () => {
    const bytes = new TextEncoder().encode('..{"v":"ä"}..').subarray(2, 12)
    expect(readJsonField(bytes, ['v'])).toBe('ä')
    expect(parseJson(bytes)).toEqual({ v: 'ä' })
  })
})
