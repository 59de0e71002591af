import { describe, expect, it } from 'vitest'
import { limitConsumer } from '../../brokers/mqtt/index.ts'
import { limitNats } from '../../brokers/nats/index.ts'
import { CaptureLineParser } from '../../src/cli/capture/capture-format.ts'
import { formatDecision } from '../../src/cli/replay/replay.ts'
import { VirtualClock } from '../../src/cli/replay/virtual-clock.ts'
import type { Decision } from '../../src/core/decision.ts'
import type { Dialect } from '../../src/core/message.ts'
import { Gate } from '../../src/index.ts'
import { startBroker } from '../brokers/aedes/harness.ts'
import { GENERATIONS } from '../brokers/nats/client-versions.ts'
import { runCommand } from '../src/cli/fake-terminal.ts'
import { Folder } from '../src/cli/folder.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startNats } from '../support/nats.ts'
import {
  captureOf,
  generateTraffic,
  REFUSING_RULES,
  START_MS,
  TRAFFIC_POLICY,
  type TrafficMessage,
} from './generated-traffic.ts'

const TRAFFIC = generateTraffic(41, 3_000)

/** Decisions of a gate in the form that a replay prints, and its warnings. */
interface GateRecord {
  readonly decided: readonly string[]
  readonly warned: readonly string[]
}

/** Sends each message at its own time and returns the decisions. */
type SendAll = (send: (message: TrafficMessage, text: string) => unknown) => Promise<GateRecord>

async function openGate(path: string, dialect: Dialect): Promise<{ gate: Gate; sendAll: SendAll }> {
  const clock = new VirtualClock(START_MS)
  const gate = await Gate.fromPolicy([path, { dialect }], { clock })
  const decided: string[] = []
  const warned: string[] = []
  let resolveDecided = (): void => {}
  gate.on('decision', (decision, { topic, on }) => {
    if (on !== 'publish') return
    decided.push(formatDecision(clock.now(), topic, decision))
    resolveDecided()
  })
  gate.on('warning', warning => warned.push(`${clock.now()} ${JSON.stringify(warning)}`))
  const sendAll: SendAll = async send => {
    for (const [index, message] of TRAFFIC.entries()) {
      clock.moveTo(message.at)
      const isDecided = new Promise<void>(resolve => {
        resolveDecided = resolve
      })
      await send(message, JSON.stringify(message.payload))
      await isDecided
      expect(decided).toHaveLength(index + 1)
    }
    return { decided, warned }
  }
  return { gate, sendAll }
}

async function byReplay(folder: Folder, policy: string): Promise<readonly string[]> {
  const capture = folder.file('capture.jsonl', captureOf(TRAFFIC))
  const ran = await runCommand(['replay', policy, capture, '--json'])
  return ran.out.trim().split('\n')
}

/** Decides all messages, and explains each one before it is decided. */
async function byExplaining(path: string): Promise<GateRecord> {
  const { gate, sendAll } = await openGate(path, 'mqtt')
  const parser = new CaptureLineParser('mqtt')
  try {
    return await sendAll(async sent => {
      const { message } = parser.read(Buffer.from(JSON.stringify(sent)))!
      const { decision: explained } = await gate.explain(message)
      const decision = await gate.check(message)
      expect(withoutUnits(explained)).toEqual(withoutUnits(decision))
    })
  } finally {
    await gate.close()
  }
}

/** Removes the remaining units and the reset time, the only fields that a charge changes. Explaining charges nothing. */
function withoutUnits({ remaining: _remaining, resetMs: _resetMs, ...decision }: Decision): object {
  return decision
}

async function byAedes(path: string): Promise<GateRecord> {
  const { gate, sendAll } = await openGate(path, 'mqtt')
  const broker = await startBroker({ gate, limiter: { dropGateMs: 0 } })
  try {
    const sender = await broker.connect()
    return await sendAll(({ topic }, text) => sender.publishAsync(topic, text, { qos: 1 }))
  } finally {
    await broker.close()
  }
}

async function byConsumer(path: string): Promise<GateRecord> {
  const { gate, sendAll } = await openGate(path, 'mqtt')
  const broker = await startMosquitto()
  const [receiver, sender] = [
    await connectClient({ port: broker.port }),
    await connectClient({ port: broker.port }),
  ]
  const limits = limitConsumer(receiver.client, gate, { handler: () => {} })
  try {
    await receiver.subscribe('#', 1)
    return await sendAll(({ topic }, text) => sender.publish(topic, text, { qos: 1 }))
  } finally {
    limits.close()
    await Promise.all([receiver.close(), sender.close()])
    await broker.stop()
    await gate.close()
  }
}

async function byNats(path: string, generation: (typeof GENERATIONS)[number]): Promise<GateRecord> {
  const { gate, sendAll } = await openGate(path, 'nats')
  const server = await startNats()
  const nc = await generation.connect(server.url)
  const limits = limitNats(gate, { headers: generation.headers, connection: nc })
  try {
    limits.subscribe(nc, '*', { callback: () => {} })
    return await sendAll(({ topic }, text) => nc.publish(topic, Buffer.from(text)))
  } finally {
    await limits.close()
    await nc.close()
    await server.stop()
    await gate.close()
  }
}

describe('one policy and one recorded traffic', () => {
  it('are decided alike by replay, explain, aedes, an MQTT.js consumer and both generations of NATS', {
    timeout: 120_000,
  }, async () => {
    using folder = new Folder()
    const path = folder.file('policy.yaml', TRAFFIC_POLICY)
    const replayed = await byReplay(folder, path)
    expect(replayed).toHaveLength(TRAFFIC.length)
    // Each rule, tier, exemption and penalty must be used, or the comparison would prove little.
    const { warned, ...explained } = await byExplaining(path)
    expect(explained.decided).toEqual(replayed)
    const answers = replayed.map(line => JSON.parse(line) as Decision)
    const refusing = answers.filter(({ allowed, rule }) => !allowed && rule !== null)
    expect(new Set(refusing.map(({ rule }) => rule))).toEqual(new Set(REFUSING_RULES))
    const reasons = new Set(answers.map(({ reason }) => reason))
    expect(reasons).toEqual(new Set(['ok', 'rate_limit_exceeded', 'quota_exceeded', 'exempt', 'banned']))
    expect(answers.some(({ outcome }) => outcome === 'degrade')).toBe(true)
    expect(new Set(warned.map(line => /"rule":"(\w+)"/.exec(line)?.[1]))).toEqual(
      new Set(['device', 'bytes']),
    )

    const expected = { decided: replayed, warned }
    expect(await byAedes(path)).toEqual(expected)
    expect(await byConsumer(path)).toEqual(expected)
    for (const generation of GENERATIONS) expect(await byNats(path, generation)).toEqual(expected)
  })
})
