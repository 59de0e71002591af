import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, it } from 'vitest'
import { limit } from '../../../src/index.ts'
import { type Random, random } from '../../support/random.ts'
import { natsGate } from '../nats/scene.ts'
import { startGateway } from './harness.ts'
import { RawClient } from './raw-client.ts'

const LINES = Number(process.env.TOPICGATE_FUZZ_PACKETS ?? 4_000)
const LINES_PER_CLIENT = 20
const BURST = 50

const BLANKS = [' ', '\t', '  ', '']
const ENDS = ['\r\n', '\r\n', '\r\n', '\n', '\r', '\rX\n', '\n\r', '']
const SUBJECTS = ['secret', 'open', 'secret.', 'se\0cret', '>', '_INBOX.secret', '$JS.ACK.x', 'reply']

/** Returns a line that may be valid, with a payload that may be shorter, longer, or lines of its own. */
function randomLine({ pick, int, chance }: Random): string {
  const payload = pick([
    '',
    'x',
    'PUB secret 1\r\n1\r\n',
    '\r\nPUB secret 0\r\n\r\n',
    'x'.repeat(int(0, 300)),
  ])
  const size = chance(0.95) ? payload.length : int(0, 40)
  const blank = (): string => (chance(0.98) ? ' ' : pick(BLANKS))
  const end = chance(0.98) ? '\r\n' : pick(ENDS)
  const name = chance(0.98) ? pick(['PUB', 'PUB', 'pub']) : pick(['HPUB', 'PUBX', 'P', 'HPUBB'])
  const subject = pick(SUBJECTS)
  return pick([
    `${name}${blank()}${subject}${blank()}${size}${end}${payload}\r\n`,
    `${name}${blank()}${subject}${blank()}${pick(SUBJECTS)}${blank()}${size}${end}${payload}\r\n`,
    `HPUB${blank()}${subject}${blank()}${chance(0.95) ? 0 : int(0, 50)}${blank()}${size}${end}${payload}\r\n`,
    `SUB${blank()}${subject}${blank()}${int(1, 9)}${end}`,
    `UNSUB${blank()}${int(1, 9)}${end}`,
    `PING${end}`,
    `PONG${end}`,
  ])
}

it('random lines pass nothing uncharged, and a good client loses nothing', async () => {
  const chance = random(2_027)
  const gate = natsGate().use(
    'secret',
    limit({ name: 'secret', rate: `1/day burst ${BURST}`, per: 'global', exceeded: 'drop' }),
  )
  await using scene = await startGateway({ gate })
  await using watcher = await RawClient.open(scene.server.port)
  await watcher.connect()
  watcher.send('SUB secret 1\r\n')
  await watcher.flush()
  await using good = await RawClient.open(scene.port)
  await good.connect()
  good.send('SUB good 1\r\n')
  await good.flush()
  let sent = 0
  for (let lines = 0; lines < LINES; lines += LINES_PER_CLIENT) {
    const text =
      'CONNECT {"verbose":false,"headers":true}\r\n' +
      Array.from({ length: LINES_PER_CLIENT }, () => randomLine(chance)).join('')
    const socket = connect({ port: scene.port, host: '127.0.0.1', noDelay: true })
    socket.on('error', () => {})
    socket.resume()
    const bytes = Buffer.from(text)
    for (let at = 0; at < bytes.length; ) {
      const size = chance.chance(0.3) ? chance.int(1, 5) : chance.int(1, 2_000)
      socket.write(bytes.subarray(at, at + size))
      at += size
    }
    socket.end()
    good.send('PUB good 4\r\ngood\r\n')
    sent++
    await once(socket, 'close')
  }
  await good.flush()
  await watcher.flush()
  expect(good.count('MSG good 1 4')).toBe(sent)
  const passed = watcher.lines.filter(line => /^H?MSG secret 1/.test(line)).length
  expect(passed).toBeGreaterThan(BURST / 2)
  expect(passed).toBeLessThanOrEqual(BURST)
  expect(scene.gateway.stats().dropped).toBeGreaterThan(0)
  expect(scene.gateway.stats().malformed).toBeGreaterThan(0)
})
