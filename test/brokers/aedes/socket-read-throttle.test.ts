import { Duplex } from 'node:stream'
import { Aedes } from 'aedes'
import mqtt from 'mqtt-packet'
import { afterEach, describe, expect, it } from 'vitest'
import { limitBroker } from '../../../brokers/aedes/index.ts'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import type { ExceededSpec } from '../../../src/chain/rules/rule-options.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { eventually, type Setup, startBroker, subscribeAll, type TestBroker } from './harness.ts'

let running: TestBroker | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})
async function start(setup: Setup): Promise<TestBroker> {
  running = await startBroker(setup)
  return running
}

function publish(payload: string, qos: 0 | 1 = 0, messageId = 1): Buffer {
  return mqtt.generate({
    cmd: 'publish',
    topic: 't/flood',
    payload,
    qos,
    retain: false,
    dup: false,
    ...(qos > 0 && { messageId }),
  })
}

class Wire extends Duplex {
  override _read(): void {}
  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    done()
  }
}

const turns = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise(resolve => setImmediate(resolve))
}

describe('a client that is being refused', () => {
  it.each([
    ['before aedes parses', {}],
    ['as aedes parses', { skimRefused: false }],
  ])('has all that came in a pause decided when the pause ends, refused %s', async (_, limiter) => {
    const clock = new FakeClock(1_000_000)
    const gate = new Gate({ clock }).use(limit({ name: 't', rate: '20/s', per: 'client', exceeded: 'drop' }))
    const broker = await Aedes.createBroker()
    const limits = limitBroker(broker, gate, limiter)
    let decided = 0
    gate.on('decision', (_decision, { on }) => {
      if (on === 'publish') decided++
    })
    const passed: number[] = []
    broker.on('publish', (packet, client) => {
      if (client) passed.push(Number(packet.payload.toString()))
    })
    const wire = new Wire()
    broker.handle(wire)
    wire.push(mqtt.generate({ cmd: 'connect', clientId: 'c', clean: true, keepalive: 0, protocolId: 'MQTT' }))
    await turns(50)
    for (let second = 0; second < 4; second++) {
      for (let i = 0; i < 60; i++) {
        // 150 messages in 15 ms; the payload is the time at which each is sent.
        wire.push(Buffer.concat(Array.from({ length: 150 }, () => publish(String(clock.now())))))
        await turns(3)
        clock.advance(15)
        await turns(3)
      }
      // The pause that runs, and the rests between turns.
      for (let ms = 0; ms < 400; ms++) {
        clock.advance(1)
        await turns(2)
      }
      expect(decided).toBe(9_000 * (second + 1))
      expect(wire.readableLength).toBe(0)
    }
    expect(passed.length).toBeGreaterThan(80)
    expect(limits.stats().dropped).toBe(36_000 - passed.length)
    await new Promise<void>(resolve => broker.close(resolve))
  })

  it.each([
    ['drop', 0, {}],
    ['drop', 0, { skimRefused: false }],
    ['drop', 1, {}],
    ['drop', 0, { dropGateMs: 0 }],
    ['throttle', 0, {}],
    ['queue', 0, {}],
    ['latest', 0, {}],
  ] as [ExceededSpec, 0 | 1, object][])(
    'never has more than 128 KiB unread, with %j at QoS %i and %j',
    async (exceeded, qos, limiter) => {
      const gate = new Gate().use(limit({ name: 't', rate: '200/s', per: 'client', exceeded }))
      let unread = 0
      const test = await start({
        gate,
        limiter,
        listener: broker => socket => {
          socket.on('readable', () => {
            unread = Math.max(unread, socket.readableLength)
          })
          broker.handle(socket)
        },
      })
      const seen = await subscribeAll(await test.connect(), 't/#')
      const raw = await test.connectRaw({ clientId: 'flooder' })
      const block = Buffer.concat(Array.from({ length: 2_000 }, (_, i) => publish('x', qos, i + 1)))
      const send = (): void => {
        while (!raw.socket.destroyed) if (!raw.socket.write(block)) return void raw.socket.once('drain', send)
      }
      send()
      await eventually(() => expect(seen.length).toBeGreaterThan(400))
      expect(unread).toBeLessThanOrEqual(131_072)
      expect(unread).toBeGreaterThan(0)
    },
  )
})

/** Hands on a few bytes at a time, as the stream of a WebSocket does: more only when it is read. */
class SmallFrames extends Duplex {
  readonly written: Buffer[] = []
  #rest = Buffer.alloc(0)
  #wanted = false

  constructor() {
    super({ readableHighWaterMark: 16_384 })
  }

  receive(bytes: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, bytes])
    if (this.#wanted) this._read()
  }

  override _read(): void {
    this.#wanted = true
    setImmediate(() => {
      if (this.#rest.length === 0) return
      const frame = this.#rest.subarray(0, 1_024)
      this.#rest = this.#rest.subarray(1_024)
      this.#wanted = false
      this.push(frame)
    })
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.written.push(chunk)
    done()
  }
}

describe('a client whose messages are held', () => {
  it('gets its PINGREQ behind 48 KB answered within half a keepalive, even if its stream buffers 16 KB', async () => {
    const clock = new FakeClock(1_000_000)
    const gate = new Gate({ clock }).use(
      limit({ name: 't', rate: '1/m', per: 'client', exceeded: 'throttle' }),
    )
    const broker = await Aedes.createBroker()
    const limits = limitBroker(broker, gate)
    const wire = new SmallFrames()
    broker.handle(wire)
    wire.receive(
      mqtt.generate({ cmd: 'connect', clientId: 'c', clean: true, keepalive: 60, protocolId: 'MQTT' }),
    )
    await turns(20)
    const messages = Array.from({ length: 3_000 }, (_, index) => publish(String(1_000 + index)))
    expect(Buffer.concat(messages).length).toBeGreaterThan(44_000)
    wire.receive(Buffer.concat(messages))
    await turns(100)
    const heldAtFirst = limits.stats().held
    expect(heldAtFirst).toBeGreaterThan(0)
    expect(heldAtFirst).toBeLessThan(2_000)
    wire.receive(mqtt.generate({ cmd: 'pingreq' }))
    for (let second = 0; second < 29; second++) {
      clock.advance(1_000)
      await turns(100)
    }
    const answers = Buffer.concat(wire.written).toString('hex')
    expect(answers.endsWith('d000')).toBe(true)
    expect(limits.stats().held).toBe(2_999)
    await new Promise<void>(resolve => broker.close(resolve))
  })
})

describe('a client that disconnects while its messages are held', () => {
  const gate = (exceeded: ExceededSpec): Gate =>
    new Gate().use('t/#', limit({ name: 't', rate: '1/hour', per: 'client', exceeded }))
  const will = { topic: 'will', payload: Buffer.from('gone'), qos: 0, retain: false } as const

  it('is detected at once without a keepalive', async () => {
    const test = await start({ gate: gate('throttle'), limiter: { maxHoldMs: 4_000_000 } })
    const raw = await test.connectRaw({ clientId: 'r', will })
    raw.socket.write(Buffer.concat(Array.from({ length: 500 }, (_, i) => publish('x', 1, i + 1))))
    await eventually(() => expect(test.limits.stats().held).toBeGreaterThan(10))
    raw.socket.write(Buffer.concat(Array.from({ length: 500 }, (_, i) => publish('x', 1, i + 501))))
    raw.socket.end()
    await eventually(() => expect(test.limits.stats()).toMatchObject({ connections: 0, discarded: 999 }))
    expect(test.broker.connectedClients).toBe(0)
  })

  it('leaves no will if it has sent a DISCONNECT', async () => {
    const test = await start({ gate: gate('throttle'), limiter: { maxHoldMs: 4_000_000 } })
    const seen = await subscribeAll(await test.connect(), 'will')
    const raw = await test.connectRaw({ clientId: 'r', will })
    raw.socket.write(Buffer.concat(Array.from({ length: 9 }, (_, i) => publish('x', 1, i + 1))))
    await eventually(() => expect(test.limits.stats().held).toBe(8))
    raw.send({ cmd: 'disconnect' })
    raw.socket.end()
    await eventually(() => expect(test.broker.connectedClients).toBe(1))
    const last = await test.connect()
    await last.publishAsync('will', 'last')
    await eventually(() => expect(seen.map(({ text }) => text)).toEqual(['last']))
  })
})
