import { describe, expect, it } from 'vitest'
import { ControlLine } from '../../../brokers/nats-gateway/control-line.ts'
import { OPERATION, readOperation } from '../../../brokers/nats-gateway/operations.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import {
  PASS,
  type PacketHandler,
  type PacketProblem,
  type PacketVerdict,
  PacketWalker,
  SKIP,
} from '../../../src/gateway/packet-walker.ts'
import { random } from '../../support/random.ts'

const MAX_LINE = 4_096

/** Records the lines that a walker reads. */
class Recorder implements PacketHandler {
  readonly decided: string[] = []
  readonly problems: PacketProblem[] = []
  readonly #forwarded: Buffer[] = []
  readonly #needsPayload: boolean

  constructor(needsPayload = false) {
    this.#needsPayload = needsPayload
  }

  get forwarded(): string {
    return Buffer.concat(this.#forwarded).toString('latin1')
  }

  decidePacket(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    if (this.#needsPayload && bytes.length < end) return end - start
    const line = bytes.toString('latin1', start, body).trimEnd()
    this.decided.push(`${line}|${end - body}`)
    return line.includes('secret') ? SKIP : PASS
  }

  forward(bytes: Buffer): void {
    this.#forwarded.push(bytes)
  }

  onProblem(problem: PacketProblem): void {
    this.problems.push(problem)
  }
}

function walk(recorder: Recorder, chunks: readonly string[]): Recorder {
  const walker = new PacketWalker(recorder, new ControlLine(MAX_LINE), 100_000)
  for (const chunk of chunks) walker.write(Buffer.from(chunk, 'latin1'))
  return recorder
}

describe('a line', () => {
  it.each([
    ['PUB a 5\r\nhello\r\n', 'PUB a 5|7'],
    ['pub\ta\t\treply  0005 \r\nhello\r\n', 'pub\ta\t\treply  0005|7'],
    ['HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n', 'HPUB a 12 12|14'],
    ['PUB a 0\r\n\r\n', 'PUB a 0|2'],
    ['MSG a 1 5\r\nhello\r\n', 'MSG a 1 5|7'],
    ['HMSG a 1 r 12 12\r\nNATS/1.0\r\n\r\n\r\n', 'HMSG a 1 r 12 12|14'],
    ['SUB a.> group 1\r\n', 'SUB a.> group 1|0'],
    ['UNSUB 1 5\r\n', 'UNSUB 1 5|0'],
    ['PING\r\n', 'PING|0'],
    ['PONG\n', 'PONG|0'],
    ['CONNECT {"a":1}\r\n', 'CONNECT {"a":1}|0'],
    ['INFO {} \r\n', 'INFO {}|0'],
    ['+OK\r\n', '+OK|0'],
    ["-ERR 'Slow Consumer'\r\n", "-ERR 'Slow Consumer'|0"],
  ])('is read wherever it is split: %j', (text, expected) => {
    for (let at = 0; at <= text.length; at++) {
      const recorder = walk(new Recorder(), [text.slice(0, at), text.slice(at), 'PING\r\n'])
      expect(recorder.decided).toEqual([expected, 'PING|0'])
      expect(recorder.forwarded).toBe(`${text}PING\r\n`)
      expect(recorder.problems).toEqual([])
    }
  })

  // nats-server reads some of these in its own way, so that it would see other messages than the gateway.
  it.each([
    'GET / HTTP/1.1\r\n',
    '\x16\x03\x01\x02',
    'PUBX a 5\r\n',
    'PUB a\r\n',
    'PUB a five\r\n',
    'PUB a -5\r\n',
    'PUB a 5x\r\n',
    'PUB a 1234567890\r\n',
    'PUB5\r\n',
    'PUB a 5\rX\n',
    'PUB a\r5\r\n',
    'PING\rPONG\r\n',
    '\r\n',
  ])('is malformed wherever it is split: %j', text => {
    for (let at = 1; at <= text.length; at++) {
      const recorder = walk(new Recorder(), [text.slice(0, at), text.slice(at)])
      expect(recorder.problems).toEqual(['malformed'])
      expect(recorder.forwarded).toBe('')
    }
  })

  it('is too large if it does not end within the bound', () => {
    const line = `PUB ${'a'.repeat(MAX_LINE)}`
    expect(walk(new Recorder(), [line]).problems).toEqual(['too large'])
    const dripped = walk(new Recorder(), [...line])
    expect(dripped.problems).toEqual(['too large'])
    expect(walk(new Recorder(), ['PUB a 99999\r\n', 'x'.repeat(100)]).problems).toEqual(['too large'])
  })

  it('may have as many bytes as the bounds of clients and servers say', () => {
    for (const maxBytes of [MAX_SIZES.natsClientLineBytes, MAX_SIZES.natsServerLineBytes]) {
      const line = Buffer.from(`INFO ${'x'.repeat(maxBytes - 7)}\r\n`)
      const recorder = new Recorder()
      const walker = new PacketWalker(recorder, new ControlLine(maxBytes), 2 * maxBytes)
      for (let at = 0; at < line.length; at += 1_000) walker.write(line.subarray(at, at + 1_000))
      expect(recorder.decided).toHaveLength(1)
      walker.write(Buffer.from(`INFO ${'x'.repeat(maxBytes)}\r\n`))
      expect(recorder.problems).toEqual(['too large'])
    }
  })
})

it('reads a plain PUB in one pass as it reads others', () => {
  for (const subject of ['a', 'fleet.site-1.device-7', '\u{1F6F0}.x', 'x'.repeat(300)]) {
    for (const size of ['0', '5', '0007', '123456789']) {
      const text = `PUB ${subject} ${size}\r\n`
      const [plain, other] = [new ControlLine(MAX_LINE), new ControlLine(MAX_LINE)]
      const bytes = Buffer.from(text)
      expect([plain.read(bytes, 0), other.read(Buffer.from(text.replaceAll(' ', '\t')), 0)]).toEqual([0, 0])
      expect([plain.isPlainPub, other.isPlainPub]).toEqual([true, false])
      expect([plain.operation, plain.body, plain.end]).toEqual([other.operation, other.body, other.end])
      expect(bytes.toString('utf8', 4, plain.subjectEnd)).toBe(subject)
    }
  }
})

it('reads lines behind a remembered subject as it reads them without', () => {
  const texts = [
    'a.b 5',
    'a.b 17',
    'a.bc 5',
    'a.B 5',
    'a 5',
    'a.b  5',
    'a.b r 5',
    'a.b 5x',
    'a.b x',
    'a.b',
    'a.b 1234567890',
  ]
  for (const subject of ['a.b', 'b', 'x'.repeat(300)]) {
    const remembering = new ControlLine(MAX_LINE)
    const remembered = Buffer.from(`PUB ${subject} 7\r\n`)
    remembering.read(remembered, 0)
    remembering.rememberSubject(remembered, 0)
    expect([remembering.read(remembered, 0), remembering.isSameSubject]).toEqual([0, subject.length < 300])
    for (const text of [...texts, `${subject} 9`]) {
      for (const line of [`PUB ${text}\r\n`, `pub ${text}\r\n`, `HPUB ${text}\r\n`, `PUB ${text}`]) {
        const bytes = Buffer.from(`PING\r\n${line}`)
        const fresh = new ControlLine(MAX_LINE)
        const [result, expected] = [remembering.read(bytes, 6), fresh.read(bytes, 6)]
        expect([result, remembering.isPlainPub], line).toEqual([expected, fresh.isPlainPub])
        if (expected === 0) {
          const { operation, body, end } = fresh
          expect(remembering, line).toMatchObject({ operation, body, end })
        }
        const isSame = fresh.isPlainPub && bytes.toString('utf8', 10, fresh.subjectEnd) === subject
        expect(remembering.isSameSubject, line).toBe(isSame && subject.length < 300)
      }
    }
    remembering.forgetSubject()
    remembering.read(remembered, 0)
    expect(remembering.isSameSubject).toBe(false)
  }
})

it('knows the operations of the protocol in any case', () => {
  for (const [name, operation] of [
    ['PUB ', OPERATION.pub],
    ['hpub\t', OPERATION.hpub],
    ['Sub ', OPERATION.sub],
    ['UNSUB ', OPERATION.unsub],
    ['ping\r', OPERATION.ping],
    ['PONG\n', OPERATION.pong],
    ['CONNECT ', OPERATION.connect],
    ['INFO ', OPERATION.info],
    ['MSG ', OPERATION.msg],
    ['HMSG ', OPERATION.hmsg],
    ['+OK\r', OPERATION.ok],
    ['-ERR ', OPERATION.error],
    ['PUBS ', OPERATION.unknown],
    ['PU', OPERATION.unknown],
  ] as const)
    expect(readOperation(Buffer.from(name), 0)).toBe(operation)
})

it('decides and forwards the same lines wherever the bytes are split', () => {
  const { int, next, chance, pick } = random(4_222)
  for (let round = 0; round < 200; round++) {
    const lines = Array.from({ length: int(1, 15) }, () => {
      const payload = 'x'.repeat(Math.floor(next() ** 4 * 20_000))
      const subject = chance(0.3) ? 'secret' : 'public'
      return pick([
        `PUB ${subject} ${payload.length}\r\n${payload}\r\n`,
        `HPUB ${subject} reply 0 ${payload.length}\r\n${payload}\r\n`,
        `SUB ${subject} ${int(1, 99)}\r\n`,
        'PING\r\n',
        'PONG\n',
      ])
    })
    const stream = lines.join('')
    const chunks: string[] = []
    for (let at = 0; at < stream.length; ) {
      const bytes = 1 + Math.floor(next() ** 3 * (chance(0.3) ? 5 : 30_000))
      chunks.push(stream.slice(at, at + bytes))
      at += bytes
    }
    const recorder = walk(new Recorder(chance(0.5)), chunks)
    expect(recorder.problems).toEqual([])
    expect(recorder.decided).toHaveLength(lines.length)
    expect(recorder.forwarded).toBe(lines.filter(line => !line.includes('secret')).join(''))
  }
})

it('survives lines of random bytes', () => {
  const { int, pick, chance } = random(77)
  const parts = [
    'PUB',
    'HPUB',
    'SUB',
    ' ',
    '\t',
    '\r',
    '\n',
    '\r\n',
    'a.b',
    '5',
    '0',
    '99999999999',
    '{}',
    '\0',
    'é',
    '>',
  ]
  const count = Number(process.env.TOPICGATE_FUZZ_PACKETS ?? 5_000)
  for (let round = 0; round < count; round++) {
    const text = Array.from({ length: int(1, 12) }, () => pick(parts)).join('')
    const recorder = walk(new Recorder(chance(0.5)), chance(0.5) ? [...text] : [text])
    expect(recorder.problems.length).toBeLessThanOrEqual(1)
    expect(text.startsWith(recorder.forwarded) || recorder.decided.length > 0).toBe(true)
  }
})
