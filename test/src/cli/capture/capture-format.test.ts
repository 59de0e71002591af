import { describe, expect, it } from 'vitest'
import { CaptureLineParser, type CaptureRecord } from '../../../../src/cli/capture/capture-format.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { fc } from '../properties.ts'

function read(fields: object): CaptureRecord {
  return readLine(new CaptureLineParser('mqtt'), JSON.stringify(fields))
}

function readLine(reader: CaptureLineParser, line: string): CaptureRecord {
  const record = reader.read(Buffer.from(line))
  if (record === undefined) throw new Error(`no message: ${line}`)
  return record
}

describe('CaptureLineParser', () => {
  it('reads every field of the format', () => {
    const { atMs, message } = read({
      at: 7,
      topic: 'fleet/a/d1/telemetry/t',
      on: 'deliver',
      client: 'd1',
      user: 'u',
      device: 'dev',
      apiKey: 'k',
      ip: '10.0.0.7',
      roles: ['admin'],
      tier: 'pro',
      headers: { x: 'y', z: ['1', '2'] },
      payload: { priority: 'low' },
      size: 120,
      qos: 1,
      retain: true,
    })
    expect(atMs).toBe(7)
    expect(message).toMatchObject({
      topic: 'fleet/a/d1/telemetry/t',
      on: 'deliver',
      size: 120,
      qos: 1,
      retain: true,
      protocol: 'mqtt',
      headers: { x: 'y', z: ['1', '2'] },
    })
    expect({ ...message.sender }).toMatchObject({
      client: 'd1',
      user: 'u',
      device: 'dev',
      apiKey: 'k',
      ip: '10.0.0.7',
      roles: ['admin'],
      tier: 'pro',
    })
    expect(message.payload?.()).toEqual({ priority: 'low' })
  })

  it('needs no more than at and topic', () => {
    const { message } = read({ at: 0, topic: 'a' })
    expect(message).toMatchObject({ on: 'publish', size: 0, qos: 0, retain: false })
    expect(message.headers).toBeUndefined()
    expect(message.payload?.()).toBeUndefined()
  })

  it('takes null for a field that is not there, and leaves fields alone that it does not know', () => {
    const { message } = read({ at: 0, topic: 'a', on: null, client: null, roles: null, size: null, later: 1 })
    expect(message).toMatchObject({ on: 'publish', size: 0 })
    expect(message.sender.client).toBeUndefined()
  })

  it.each([
    [{ a: 'é' }, 10],
    ['é', 2],
    ['', 0],
    [null, 4],
    [[1, 2], 5],
    [undefined, 0],
  ])('measures the payload %j as %i bytes', (payload, size) => {
    expect(read({ at: 0, topic: 'a', payload }).message.size).toBe(size)
  })

  it('reads a payload that is text as a broker would: JSON, or nothing', () => {
    expect(read({ at: 0, topic: 'a', payload: '{"v":1}' }).message.payload?.()).toEqual({ v: 1 })
    expect(read({ at: 0, topic: 'a', payload: 'plain' }).message.payload?.()).toBeUndefined()
  })

  it('parses no payload beyond the bound', () => {
    const atBound = read({ at: 0, topic: 'a', payload: { v: 1 }, size: MAX_SIZES.parsedPayloadBytes })
    const beyond = read({ at: 0, topic: 'a', payload: { v: 1 }, size: MAX_SIZES.parsedPayloadBytes + 1 })
    expect(atBound.message.payload?.()).toEqual({ v: 1 })
    expect(beyond.message.payload?.()).toBeUndefined()
  })

  it.each([
    ['this is not JSON', 'nonsense'],
    ['a line of a capture is a JSON object', '[]'],
    ['a line of a capture is a JSON object', 'null'],
    ['"at" is missing', '{"topic":"a"}'],
    ['"at" is 1.5', '{"at":1.5,"topic":"a"}'],
    ['"at" is -1', '{"at":-1,"topic":"a"}'],
    ['"at" is 8640000000000001', '{"at":8640000000000001,"topic":"a"}'],
    ['"topic" is missing', '{"at":0}'],
    ['"topic" is 5', '{"at":0,"topic":5}'],
    ['"on" is "send"', '{"at":0,"topic":"a","on":"send"}'],
    ['"client" is 5', '{"at":0,"topic":"a","client":5}'],
    ['"roles" is "admin"', '{"at":0,"topic":"a","roles":"admin"}'],
    ['"headers" is {"x":1}', '{"at":0,"topic":"a","headers":{"x":1}}'],
    ['"size" is -1', '{"at":0,"topic":"a","size":-1}'],
    ['"qos" is 3', '{"at":0,"topic":"a","qos":3}'],
    ['"retain" is 1', '{"at":0,"topic":"a","retain":1}'],
    ['nested too deeply', `{"at":0,"topic":"a","payload":${'['.repeat(1e5)}${']'.repeat(1e5)}}`],
  ])('says %s', (problem, line) => {
    expect(() => readLine(new CaptureLineParser('mqtt'), line)).toThrow(problem)
  })

  it('takes names like those of prototypes for what they are', () => {
    const line = '{"at":0,"topic":"__proto__","client":"constructor","headers":{"__proto__":"x"}}'
    const { message } = readLine(new CaptureLineParser('mqtt'), line)
    expect(message.topic).toBe('__proto__')
    expect(Object.keys(message.headers ?? {})).toEqual(['__proto__'])
  })

  it('throws nothing but its own errors, whatever a line says', () => {
    const parser = new CaptureLineParser('nats')
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc
            .dictionary(fc.constantFrom('at', 'topic', 'roles'), fc.jsonValue())
            .map(fields => JSON.stringify(fields)),
        ),
        line => {
          try {
            parser.read(Buffer.from(line))
          } catch (error) {
            expect((error as Error).name).toBe('LineError')
          }
        },
      ),
    )
  })

  it('gives equal senders one object, so that limits keep their place on it', () => {
    const parser = new CaptureLineParser('mqtt')
    const one = readLine(parser, '{"at":0,"topic":"a","client":"c","roles":["x"]}').message.sender
    const same = readLine(parser, '{"at":9,"topic":"b","roles":["x"],"client":"c"}').message.sender
    const other = readLine(parser, '{"at":9,"topic":"b","client":"c","roles":["y"]}').message.sender
    expect(same).toBe(one)
    expect(other).not.toBe(one)
  })
})
