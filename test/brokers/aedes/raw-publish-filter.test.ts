import { Duplex } from 'node:stream'
import { Aedes } from 'aedes'
import mqtt from 'mqtt-packet'
import { describe, expect, it } from 'vitest'
import { type LimitBrokerOptions, limitBroker } from '../../../brokers/aedes/index.ts'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** A connection that brings exactly the chunks it is given, and keeps what is written to it. */
class Wire extends Duplex {
  readonly packets: mqtt.Packet[] = []
  readonly #parser = mqtt.parser({ protocolVersion: 4 }).on('packet', packet => this.packets.push(packet))
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#parser.parse(chunk)
    done()
  }
}

function chance(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 8) % below
  }
}

/** Packets of every kind a client may send, most of them QoS 0 publishes on one topic; some streams end broken. */
function makeStream(pick: (below: number) => number): { readonly body: Buffer; readonly ending: Buffer } {
  const packets: Buffer[] = []
  const count = 100 + pick(200)
  for (let id = 1; id <= count; id++) {
    const kind = pick(24)
    const payload = Buffer.alloc(pick(kind === 0 ? 400 : 40), id)
    const publish = { cmd: 'publish', topic: 't/flood', payload, qos: 0, retain: false, dup: false } as const
    if (kind === 1) packets.push(mqtt.generate({ cmd: 'pingreq' }))
    else if (kind === 2) packets.push(mqtt.generate({ ...publish, qos: 1, messageId: id }))
    else if (kind === 3) packets.push(mqtt.generate({ ...publish, topic: pick(2) ? 't/flooD' : 't/f' }))
    else if (kind === 4) {
      const subscriptions = [{ topic: `s/${id}`, qos: 0 as const }]
      packets.push(mqtt.generate({ cmd: 'subscribe', messageId: id, subscriptions }))
    } else if (kind === 5) packets.push(mqtt.generate({ ...publish, retain: true }))
    else if (kind === 6) packets.push(mqtt.generate({ ...publish, qos: 2, messageId: id }))
    else if (kind === 7)
      packets.push(mqtt.generate({ cmd: 'unsubscribe', messageId: id, unsubscriptions: ['s'] }))
    else if (kind === 8) packets.push(mqtt.generate({ ...publish, topic: 't/ü-\u{1f4a1}' }))
    // Longer than it need be: still the same number.
    else if (kind === 9)
      packets.push(Buffer.concat([Buffer.from([0x30, 0x8c, 0x00, 0, 7]), Buffer.from('t/floodabc')]))
    else packets.push(mqtt.generate(publish))
  }
  const body = Buffer.concat(packets.splice(0))
  const ending = pick(8)
  if (ending === 0) packets.push(mqtt.generate({ cmd: 'disconnect' }))
  if (ending === 1) packets.push(Buffer.from([0x36, 9, 0, 7, ...Buffer.from('t/flood')]))
  if (ending === 2) packets.push(Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01, 1, 2, 3]))
  if (ending === 3) packets.push(Buffer.from([0x30, 4, 0, 9, 0x74, 0x2f]), mqtt.generate({ cmd: 'pingreq' }))
  if (ending === 4) packets.push(Buffer.from([0xf0, 0]))
  if (ending === 5) packets.push(Buffer.from([0x30, 200, 1, 0, 7]), Buffer.from('t/fl'))
  return { body, ending: Buffer.concat(packets) }
}

function cut(stream: Buffer, pick: (below: number) => number): Buffer[] {
  const chunks: Buffer[] = []
  const largest = [3, 60, 700, 5_000, 70_000][pick(5)]!
  for (let at = 0; at < stream.length; ) {
    const end = Math.min(stream.length, at + 1 + pick(largest))
    chunks.push(Buffer.from(stream.subarray(at, end)))
    at = end
  }
  return chunks
}

interface Witness {
  readonly told: string[]
  readonly decided: string[]
  readonly answered: string[]
  readonly errors: string[]
  readonly dropped: number
  /** Packets of QoS 0 that came to aedes. */
  readonly parsed: number
}

/** What aedes, the gate and the client see of chunks, which may come with the end or before it. Time goes on a millisecond each time it is asked for. */
async function watch(
  chunks: readonly Buffer[],
  options: LimitBrokerOptions,
  ending?: Buffer,
  own = false,
  conditional = false,
): Promise<Witness> {
  const clock = new FakeClock()
  const gate = new Gate({ clock }).use(
    't/#',
    // Depends on the order of decisions: each takes a millisecond.
    limit({ name: 'rate', rate: '250/s burst 5', per: 'client', exceeded: 'drop' }),
    limit({ name: 'bytes', rate: '9kB/s burst 600', per: 'client', cost: 'bytes', exceeded: 'reject' }),
    limit({
      ...{ name: 'blocks', rate: '600/s burst 60', per: 'client', exceeded: 'drop' },
      cost: { bytes: 'per 16', overhead: 5 },
    }),
  )
  if (conditional) {
    gate.use(
      limit({ name: 'kept', rate: '1/s burst 2', when: { retain: true }, exceeded: 'drop' }),
      limit({
        name: 'small',
        rate: '90/s burst 9',
        when: { size: { max: 12 }, will: false },
        exceeded: 'drop',
      }),
      limit({ name: 'sure', rate: '1/h', when: { qos: [1, 2] }, exceeded: 'reject' }),
      limit({ name: 'other', rate: '1/h', when: { payload: { field: 'a', exists: true } } }),
    )
  }
  const decided: string[] = []
  gate.on('decision', (decision, message) => {
    if (message.on !== 'publish') return
    clock.advance(1)
    decided.push(
      `${message.topic} ${message.size} ${message.qos} ${message.retain} ${JSON.stringify(decision)}`,
    )
  })
  const broker = await Aedes.createBroker()
  let parsed = 0
  if (own) {
    broker.authorizePublish = (_client, packet, done) => {
      if (packet.qos === 0) parsed++
      done(null)
    }
  }
  const limits = limitBroker(broker, gate, { dropGateMs: 0, ...options })
  const told: string[] = []
  const errors: string[] = []
  broker.on('publish', (packet, client) => {
    if (client) told.push(`${packet.topic} ${packet.qos} ${packet.retain} ${packet.payload.toString('hex')}`)
  })
  broker.on('clientError', (_, error) => errors.push(error.message))
  const wire = new Wire()
  broker.handle(wire)
  wire.push(mqtt.generate({ cmd: 'connect', clientId: 'c', clean: true, keepalive: 0, protocolId: 'MQTT' }))
  await until(() => wire.packets.length === 1)
  for (const chunk of chunks) {
    wire.push(chunk)
    if (chunk.length > 20) await turn()
  }
  if (ending !== undefined) {
    // aedes forgets acknowledgements under way when a connection ends: first they leave.
    for (let turns = 0; turns < 100; turns++) await turn()
    wire.push(ending)
    for (let turns = 0; turns < 100; turns++) await turn()
  }
  wire.push(null)
  await until(() => wire.destroyed)
  for (let turns = 0; turns < 20; turns++) await turn()
  const { dropped } = limits.stats()
  await new Promise<void>(resolve => broker.close(resolve))
  const answered = wire.packets.map(({ cmd, messageId }) => `${cmd} ${messageId}`)
  return { told, decided, answered, errors, dropped, parsed }
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

async function until(claim: () => boolean): Promise<void> {
  for (let turns = 0; turns < 20_000; turns++) {
    if (claim()) return
    await turn()
  }
  throw new Error('it did not come to that')
}

describe('publishes refused before they are parsed', () => {
  it.each(Array.from({ length: 60 }, (_, seed) => seed))(
    'change nothing of what is decided, told and answered, however a stream is cut: %i',
    async seed => {
      const pick = chance(seed + 1)
      const { body, ending } = makeStream(pick)
      const chunks = cut(body, pick)
      const parsed = await watch(chunks, { skimRefused: false }, ending)
      const skimmed = await watch(chunks, {}, ending)
      expect(skimmed.decided).toEqual(parsed.decided)
      expect(skimmed.dropped).toBe(parsed.dropped)
      expect(skimmed.errors).toEqual(parsed.errors)
      // Across QoS levels, and between retained and others, aedes itself keeps no order.
      expect(skimmed.told.toSorted()).toEqual(parsed.told.toSorted())
      const plain = (all: readonly string[]): string[] => all.filter(each => each.includes(' 0 false '))
      expect(plain(skimmed.told)).toEqual(plain(parsed.told))
      expect(skimmed.answered.toSorted()).toEqual(parsed.answered.toSorted())
    },
  )

  it.each(Array.from({ length: 20 }, (_, seed) => seed))(
    'change nothing of what rules with conditions decide: %i',
    async seed => {
      const pick = chance(seed + 2_001)
      const { body } = makeStream(pick)
      const chunks = cut(body, pick)
      const parsed = await watch(chunks, { skimRefused: false }, undefined, false, true)
      const skimmed = await watch(chunks, {}, undefined, false, true)
      expect(skimmed.decided).toEqual(parsed.decided)
      expect(skimmed.decided.some(each => /"rule":"(kept|small|sure)"/.test(each))).toBe(true)
      expect(skimmed.dropped).toBe(parsed.dropped)
      expect(skimmed.told.toSorted()).toEqual(parsed.told.toSorted())
    },
  )

  it.each(Array.from({ length: 20 }, (_, seed) => seed))(
    'change nothing of what is decided and told where the sender ends with its last byte: %i',
    async seed => {
      const pick = chance(seed + 1_001)
      const { body, ending } = makeStream(pick)
      const chunks = cut(Buffer.concat([body, ending]), pick)
      const parsed = await watch(chunks, { skimRefused: false })
      const skimmed = await watch(chunks, {})
      expect(skimmed.decided).toEqual(parsed.decided)
      expect(skimmed.dropped).toBe(parsed.dropped)
      expect(skimmed.told.toSorted()).toEqual(parsed.told.toSorted())
    },
  )

  const flood = Buffer.concat(
    Array.from({ length: 1_000 }, () =>
      mqtt.generate({ cmd: 'publish', topic: 't/flood', payload: 'x', qos: 0, retain: false, dup: false }),
    ),
  )
  it('are passed to a hook of the application, unless skimRefused is true', async () => {
    const chunks = [flood, flood, flood]
    expect(await watch(chunks, {}, undefined, true)).toMatchObject({ parsed: 3_000 })
    expect(await watch(chunks, { skimRefused: false }, undefined, true)).toMatchObject({ parsed: 3_000 })
    const skimmed = await watch(chunks, { skimRefused: true }, undefined, true)
    // The first chunk tells which topic to look for; afterwards the hook sees what passes.
    const passedLater = skimmed.told.length - skimmed.decided.slice(0, 1_000).filter(isAllowed).length
    expect(skimmed.parsed).toBe(1_000 + passedLater)
    expect(skimmed.decided).toHaveLength(3_000)
    expect(skimmed.dropped + skimmed.told.length).toBe(3_000)
  })

  it('are passed to aedes if they count towards a disconnect', async () => {
    const seen = await watch([flood, flood], { disconnectAfter: 900 })
    expect(seen.dropped).toBe(899)
    expect(seen.errors).toHaveLength(1)
  })
})

function isAllowed(decided: string): boolean {
  return decided.includes('"allowed":true')
}
