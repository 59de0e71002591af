import { describe, expect, it } from 'vitest'
import { limitConsumer } from '../../brokers/mqtt/index.ts'
import { limitNats } from '../../brokers/nats/index.ts'
import { formatDecision } from '../../src/cli/replay.ts'
import { Gate } from '../../src/index.ts'
import type { Dialect } from '../../src/message.ts'
import { startBroker } from '../brokers/aedes/harness.ts'
import { GENERATIONS } from '../brokers/nats/generations.ts'
import { runCommand } from '../src/cli/fake-terminal.ts'
import { Folder } from '../src/cli/folder.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startNats } from '../support/nats.ts'
import { random } from '../support/random.ts'
import { until } from '../support/wait.ts'

/** Topics of one level, whose patterns mean the same in MQTT and in NATS. */
const POLICY = `
version: 1
senders: { device: "{topic.device}" }
exempt:
  - { name: alarms, when: { payload: { field: level, equals: alarm } }, limit: 20/min per device }
rules:
  - { name: device, topic: "{device}", per: device, limit: 2/s burst 3, exceeded: drop }
  - { name: bytes, topic: "{device}", limit: 200/s burst 500, cost: bytes }
  - { name: weight, topic: "{device}", per: device, limit: 9 per 3s, cost: { payload: weight }, algorithm: sliding-counter }
  - { name: log, topic: "{device}", per: topic, limit: 5 per 4s, algorithm: sliding-log, exceeded: drop }
  - { name: daily, topic: "{device}", per: device, quota: 30/day }
  - { name: trial, topic: "{device}", limit: 4/s, shadow: true }
`

interface Line {
  readonly at: number
  readonly topic: string
  readonly payload: object
}

const START_MS = Date.UTC(2026, 0, 1, 23, 59)

function record(seed: number, count: number): readonly Line[] {
  const chance = random(seed)
  let at = START_MS
  return Array.from({ length: count }, () => {
    at += chance.chance(0.3) ? 0 : chance.int(1, 400)
    const payload = {
      weight: chance.int(1, 4),
      ...(chance.chance(0.1) && { level: 'alarm' }),
      ...(chance.chance(0.2) && { text: 'x'.repeat(chance.int(1, 300)) }),
    }
    return { at, topic: `d${chance.int(1, 3)}`, payload }
  })
}

/** Sends each line at its own moment, and tells what was decided about it. */
type Carry = (send: (line: Line, text: string) => unknown) => Promise<readonly string[]>

async function openGate(path: string, dialect: Dialect): Promise<{ gate: Gate; carry: Carry }> {
  const clock = new FakeClock(START_MS)
  const gate = await Gate.fromPolicy([path, { dialect }], { clock })
  const decided: string[] = []
  gate.on('decision', (decision, { topic, on }) => {
    if (on === 'publish') decided.push(formatDecision(clock.now(), topic, decision))
  })
  const carry: Carry = async send => {
    for (const [index, line] of LINES.entries()) {
      clock.set(line.at)
      await send(line, JSON.stringify(line.payload))
      await until(() => decided.length === index + 1, {
        everyMs: 0,
        what: () => `${index + 1} decisions; there are ${decided.length}`,
      })
    }
    return decided
  }
  return { gate, carry }
}

const LINES = record(41, 300)

async function byReplay(folder: Folder, policy: string): Promise<readonly string[]> {
  const text = LINES.map(({ payload, ...line }) => JSON.stringify({ ...line, payload })).join('\n')
  const ran = await runCommand(['replay', policy, folder.file('capture.jsonl', text), '--json'])
  return ran.out.trim().split('\n')
}

async function byAedes(path: string): Promise<readonly string[]> {
  const { gate, carry } = await openGate(path, 'mqtt')
  const broker = await startBroker({ gate, limiter: { dropGateMs: 0 } })
  try {
    const sender = await broker.connect()
    return await carry(({ topic }, text) => sender.publishAsync(topic, text, { qos: 1 }))
  } finally {
    await broker.close()
  }
}

async function byConsumer(path: string): Promise<readonly string[]> {
  const { gate, carry } = await openGate(path, 'mqtt')
  const broker = await startMosquitto()
  const [receiver, sender] = [
    await connectClient({ port: broker.port }),
    await connectClient({ port: broker.port }),
  ]
  const limits = limitConsumer(receiver.client, gate, { handler: () => {} })
  try {
    await receiver.subscribe('#', 1)
    return await carry(({ topic }, text) => sender.publish(topic, text, { qos: 1 }))
  } finally {
    limits.close()
    await Promise.all([receiver.close(), sender.close()])
    await broker.stop()
    await gate.close()
  }
}

async function byNats(path: string, generation: (typeof GENERATIONS)[number]): Promise<readonly string[]> {
  const { gate, carry } = await openGate(path, 'nats')
  const server = await startNats()
  const nc = await generation.connect(server.url)
  const limits = limitNats(gate, { headers: generation.headers, connection: nc })
  try {
    limits.subscribe(nc, '*', { callback: () => {} })
    return await carry(({ topic }, text) => nc.publish(topic, Buffer.from(text)))
  } finally {
    await limits.close()
    await nc.close()
    await server.stop()
    await gate.close()
  }
}

describe('one policy and one recorded traffic', () => {
  it('are decided alike by replay, aedes, an MQTT.js consumer and both generations of NATS', async () => {
    using folder = new Folder()
    const path = folder.file('policy.yaml', POLICY)
    const replayed = await byReplay(folder, path)
    expect(replayed).toHaveLength(LINES.length)
    // Each rule and the exemption had its say, or the comparison would say little.
    const refusing = replayed
      .map(line => JSON.parse(line) as { allowed: boolean; rule: string })
      .filter(({ allowed }) => !allowed)
    expect(new Set(refusing.map(({ rule }) => rule))).toEqual(
      new Set(['device', 'bytes', 'weight', 'log', 'daily']),
    )
    expect(replayed.some(line => line.includes('"reason":"exempt"'))).toBe(true)
    expect(await byAedes(path)).toEqual(replayed)
    expect(await byConsumer(path)).toEqual(replayed)
    for (const generation of GENERATIONS) expect(await byNats(path, generation)).toEqual(replayed)
  })
})
