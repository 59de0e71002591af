import { describe, expect, it } from 'vitest'
import { CaptureLineParser } from '../../../../src/cli/capture/capture-format.ts'
import { CaptureLineCache } from '../../../../src/cli/capture/capture-line-cache.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { CapturedMessage } from '../../../../src/core/message-from-fields.ts'
import { fc } from '../properties.ts'

const message = new CapturedMessage({ topic: 'a', sender: { client: 'c' }, size: 7, qos: 1 }, 'mqtt')

/** Adds a line, and returns what is found for another one. */
function findAfter(added: string, line: string): CapturedMessage | undefined {
  const cache = new CaptureLineCache()
  cache.add(Buffer.from(added), 0, message)
  return cache.find(Buffer.from(line), 0)
}

/** Reads a line, or the error that it causes. */
function outcome(reader: CaptureLineParser, line: string): unknown {
  try {
    const record = reader.read(Buffer.from(line))
    if (record === undefined) return 'no message'
    const { bytes, payload } = record.message
    return [{ ...record }, bytes?.call(record.message), payload?.call(record.message), reader.end]
  } catch (error) {
    return (error as Error).message
  }
}

const number = fc.oneof(
  fc.nat().map(String),
  fc.constantFrom('0', '007', '-1', '1.5', '1e3', '12345678901234567', 'null', '"5"', ''),
)
const text = fc
  .oneof(
    fc.constantFrom('a/b', 'at', '"at":', '"size":', 'size":1,"', 'straße/日本', '{', '\\', ''),
    fc.string(),
  )
  .map(value => JSON.stringify(value))
const field = fc.oneof(
  fc.tuple(fc.constantFrom('topic', 'client', 'user', 'device', 'tier'), text),
  fc.tuple(fc.constantFrom('qos', 'took'), fc.constantFrom('0', '1', '7')),
  fc.tuple(fc.constantFrom('size', 'at', 's\\u0069ze'), number),
  fc.constantFrom(
    ['payload', '{"size":5}'] as const,
    ['payload', '"x"'] as const,
    ['roles', '["size","at"]'] as const,
    ['retain', 'true'] as const,
    ['on', '"connect"'] as const,
  ),
)

/** A line as `capture` writes it, or one that differs in order, spaces or values. Each number may be replaced. */
const template = fc
  .tuple(
    fc.array(field, { maxLength: 5 }),
    fc.constantFrom(':', ': ', ' :'),
    fc.constantFrom('', ' ', '\r', '}', ','),
  )
  .map(([fields, colon, rest]) => (at: string, size: string): string => {
    const written = fields.map(([key, value]) => `"${key}"${colon}${value}`)
    return `{"at":${[at, '"topic":"t"', ...written.slice(0, 2), `"size":${size}`, ...written.slice(2)].join()}}${rest}`
  })

describe('CaptureLineCache', () => {
  it('finds a line with another time and size', () => {
    const cache = new CaptureLineCache()
    cache.add(Buffer.from('{"at":5,"topic":"a","size":7,"client":"c","qos":1}'), 0, message)
    const lines = Buffer.from('\n{"at":90,"topic":"a","size":80,"client":"c","qos":1}\n{"at":')
    expect(cache.find(lines, 1)).toEqual(message.withSize(80))
    expect([cache.atMs, lines.subarray(cache.end).toString()]).toEqual([90, '\n{"at":'])
  })

  it('finds a line without a size', () => {
    expect(findAfter('{"at":5,"topic":"a"}', '{"at":6,"topic":"a"}')).toEqual(message)
    expect(findAfter('{"at":5,"topic":"a"}', '{"at":6,"topic":"b"}')).toBeUndefined()
    expect(findAfter('{"at":5,"topic":"a"}', '{"at":6,"topic":"a"} ')).toBeUndefined()
  })

  it('finds a line wherever its parts are, and none that differs in a byte', () => {
    for (let length = 0; length < 8; length++) {
      const written = `{"at":5,"topic":"${'z'.repeat(length)}","size":7,"client":"c"}`
      const cache = new CaptureLineCache()
      cache.add(Buffer.from(written), 0, message)
      const line = Buffer.from(`${' '.repeat(length)}${written.replace('7', '123')}`)
      expect(cache.find(line, length)).toEqual(message.withSize(123))
      for (let place = length; place < line.length; place++) {
        const other = Buffer.from(line)
        other[place]!++
        const found = cache.find(other, length)
        const isDigit = [line[place], other[place]].every(byte => byte! >= 0x30 && byte! <= 0x39)
        expect(found === undefined).toBe(!isDigit)
      }
    }
  })

  it('finds no message of another line that has the same hash', () => {
    const line = (topic: string) => Buffer.from(`{"at":0,"topic":"${topic}"}`)
    const [one, other] = [line('117007/182992'), line('139656/160343')]
    const cache = new CaptureLineCache()
    cache.add(one, 0, message)
    expect(cache.find(other, 0)).toBeUndefined()
    // It takes the place of the first line: the hashes are indeed equal.
    cache.add(other, 0, message.withSize(1))
    expect(cache.find(one, 0)).toBeUndefined()
    expect(cache.find(other, 0)).toEqual(message.withSize(1))
  })

  it('numbers its lines', () => {
    const cache = new CaptureLineCache()
    const line = (n: number) => Buffer.from(`{"at":0,"topic":"${n}"}`)
    for (let n = 0; n < 9; n++) cache.add(line(n), 0, message)
    cache.find(line(5), 0)
    expect(cache.number).toBe(5)
    cache.find(line(9), 0)
    expect(cache.number).toBeUndefined()
    cache.add(line(9), 0, message)
    expect(cache.number).toBe(9)
    cache.add(Buffer.from('{"at":0,"topic":"a","payload":1}'), 0, message)
    expect(cache.number).toBeUndefined()
  })

  it('returns a new message each time', () => {
    const cache = new CaptureLineCache()
    const line = Buffer.from('{"at":5,"topic":"connect","on":"connect"}')
    cache.add(line, 0, message)
    expect(cache.find(line, 0)).not.toBe(cache.find(line, 0))
  })

  it('reads as JSON.parse does, whatever the lines', () => {
    fc.assert(
      fc.property(
        template,
        fc.array(fc.tuple(number, number), { minLength: 2, maxLength: 4 }),
        (write, numbers) => {
          const parser = new CaptureLineParser('mqtt', { allowsOutOfOrder: true })
          for (const [at, size] of numbers) {
            const line = write(at, size)
            const parsed = outcome(new CaptureLineParser('mqtt', { allowsOutOfOrder: true }), line)
            expect(outcome(parser, line)).toEqual(parsed)
          }
        },
      ),
      { numRuns: 3_000 },
    )
  })

  it.each([
    ['many', MAX_SIZES.cachedCaptureLines, 0],
    ['long in total', MAX_SIZES.cachedCaptureLineBytes / 2_000, 2_000],
  ])('forgets its lines when they are too %s, once as many others have come', (_, most, chars) => {
    const cache = new CaptureLineCache()
    const line = (n: number) => Buffer.from(`{"at":0,"topic":"${n}${' '.repeat(chars)}"}`)
    let added = 0
    const addUpTo = (count: number): void => {
      for (; added < count; added++) cache.add(line(added), 0, message)
    }
    addUpTo(Math.ceil(most * 1.5))
    expect(cache.find(line(0), 0)).toEqual(message)
    expect(cache.find(line(added - 1), 0)).toBeUndefined()
    addUpTo(Math.ceil(most * 2.1))
    expect(cache.find(line(0), 0)).toBeUndefined()
    expect(cache.find(line(added - 1), 0)).toEqual(message)
  })

  it('finds most of the lines that repeat in turn, if they are some more than it keeps', () => {
    const cache = new CaptureLineCache()
    const lines = Math.ceil(MAX_SIZES.cachedCaptureLines * 1.25)
    let found = 0
    for (let n = 0; n < 4 * lines; n++) {
      const line = Buffer.from(`{"at":0,"topic":"${n % lines}"}`)
      if (cache.find(line, 0) === undefined) cache.add(line, 0, message)
      else found++
    }
    expect(found / (3 * lines)).toBeCloseTo(0.8, 1)
  })
})
