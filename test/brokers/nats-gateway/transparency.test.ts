import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { expect, it } from 'vitest'
import { limit } from '../../../src/index.ts'
import { random } from '../../support/random.ts'
import { natsGate } from '../nats/scene.ts'
import { startGateway } from './harness.ts'
import { RawClient } from './raw-client.ts'

/** A connection to the server that records both directions. */
class RecordedSocket extends Duplex {
  readonly sent: Buffer[] = []
  readonly received: Buffer[] = []
  readonly #socket: Socket

  constructor(socket: Socket) {
    super()
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.received.push(chunk)
      if (!this.push(chunk)) socket.pause()
    })
    socket.on('end', () => this.push(null))
    socket.on('error', err => this.destroy(err))
    socket.on('close', () => this.destroy())
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.sent.push(chunk)
    this.#socket.write(chunk, done)
  }

  override _final(done: () => void): void {
    this.#socket.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy()
    done(error)
  }
}

const OWN_PING = 'PING\r\n'
const MAX_PAYLOAD = 1_048_576

const HEADERS = 'NATS/1.0\r\nA: b\r\nA:c\r\nNats-Msg-Id: 1\r\n\r\n'

/** Lines with their payloads, as clients write them and as they may be written. */
const CORPUS: readonly string[] = [
  'SUB a.> 1\r\n',
  'sub  b.*   group  2\r\n',
  'SUB max 3\r\n',
  'UNSUB 3 2\r\n',
  'SUB gone 4\r\n',
  'UNSUB 4\r\n',
  'PUB a.b 5\r\nhello\r\n',
  'pub a.b\t5\nhello\r\n',
  'PUB a.b a.reply 0\r\n\r\n',
  'PUB a.b 12\r\nPUB x 1\r\n1\r\n\r\n',
  `HPUB a.b ${HEADERS.length} ${HEADERS.length + 2}\r\n${HEADERS}hi\r\n`,
  `HPUB a.c a.r ${HEADERS.length} ${HEADERS.length}\r\n${HEADERS}\r\n`,
  'PUB max 1\r\n1\r\n',
  'PUB max 1\r\n2\r\n',
  'PUB max 1\r\n3\r\n',
  'PUB gone 1\r\n1\r\n',
  'PUB b.\u00e9\u4e00 3\r\n\x00\r\n\r\n',
  'PUB $KV.bucket.key 2\r\n{}\r\n',
  'PUB _INBOX.none 2\r\n{}\r\n',
  'PING\r\n',
  'PONG\r\n',
  'ping\r\n',
]

it.each([
  ['a quiet client', { verbose: false, pedantic: false }],
  ['a verbose client', { verbose: true, pedantic: false }],
  ['a pedantic client', { verbose: false, pedantic: true }],
])('forwards the lines of %s and its server byte for byte', async (_, fields) => {
  const { int, chance } = random(42)
  const gate = natsGate(limit({ name: 'generous', rate: '1000000/s' }))
  const recorded: RecordedSocket[] = []
  await using scene = await startGateway({
    gate,
    onUpstream: socket => {
      const upstream = new RecordedSocket(socket)
      recorded.push(upstream)
      return upstream
    },
  })
  await using client = await RawClient.open(scene.port)
  const connect = `CONNECT ${JSON.stringify({ ...fields, headers: true, lang: 'raw', protocol: 0 })}\r\n`
  const largest = `PUB a.large ${MAX_PAYLOAD}\r\n${'\r\nPUB x 1\r\n'.repeat(MAX_PAYLOAD / 8).slice(0, MAX_PAYLOAD)}\r\n`
  const lines = [...CORPUS, largest, ...CORPUS.slice(6), 'PING\r\n'].map(line => Buffer.from(line))
  const stream = Buffer.concat([Buffer.from(connect), ...lines])
  for (let at = 0; at < stream.length; ) {
    const bytes = chance(0.5) ? int(1, 7) : int(100, 100_000)
    client.socket.write(stream.subarray(at, at + bytes))
    at += bytes
    if (chance(0.1)) await new Promise(resolve => setImmediate(resolve))
  }
  const pings = lines.filter(line => /^ping/i.test(line.toString())).length
  while (client.count('PONG') < pings)
    await client.receives('PONG\r\n').then(() => new Promise(resolve => setTimeout(resolve, 5)))
  const [{ sent, received }] = recorded as [RecordedSocket]
  expect(Buffer.concat(sent).toString('latin1')).toBe(
    connect + OWN_PING + Buffer.concat(lines).toString('latin1'),
  )
  // All but the INFO, which is rewritten, and the PONG for the gateway.
  const fromServer = Buffer.concat(received).toString('latin1')
  const behindInfo = fromServer.slice(fromServer.indexOf('\r\n') + 2).replace('PONG\r\n', '')
  expect(client.received.slice(client.received.indexOf('\r\n') + 2)).toBe(behindInfo)
})
