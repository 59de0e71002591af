import { describe, expect, it } from 'vitest'
import { limitConsumer } from '../../brokers/mqtt/index.ts'
import { limitNats } from '../../brokers/nats/index.ts'
import { CaptureReader } from '../../src/cli/capture-format.ts'
import { formatDecision } from '../../src/cli/replay.ts'
import { VirtualClock } from '../../src/cli/virtual-clock.ts'
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
import { captureOf, type Line, POLICY, REFUSING, record, START_MS } from './recorded.ts'

const LINES = record(41, 3_000)

/** Decisions in the form a replay prints, and the warnings. */
interface Told {
  readonly decided: readonly string[]
  readonly warned: readonly string[]
}

/** Sends each line at its own time and returns the decisions. */
type Carry = (send: (line: Line, text: string) => unknown) => Promise<Told>

async function openGate(path: string, dialect: Dialect): Promise<{ gate: Gate; carry: Carry }> {
  const clock = new VirtualClock(START_MS)
  const gate = await Gate.fromPolicy([path, { dialect }], { clock })
  const decided: string[] = []
  const warned: string[] = []
  let addTest = (): void => {}
  gate.on('decision', (decision, { topic, on }) => {
    if (on !== 'publish') return
    decided.push(formatDecision(clock.now(), topic, decision))
    addTest()
  })
  gate.on('warning', warning => warned.push(`${clock.now()} ${JSON.stringify(warning)}`))
  const carry: Carry = async send => {
    for (const [index, line] of LINES.entries()) {
      clock.moveTo(line.at)
      const isDecided = new Promise<void>(resolve => {
        addTest = resolve
      })
      await send(line, JSON.stringify(line.payload))
      await isDecided
      expect(decided).toHaveLength(index + 1)
    }
    return { decided, warned }
  }
  return { gate, carry }
}

async function byReplay(folder: Folder, policy: string): Promise<readonly string[]> {
  const capture = folder.file('capture.jsonl', captureOf(LINES))
  const ran = await runCommand(['replay', policy, capture, '--json'])
  return ran.out.trim().split('\n')
}

/** Replays, and explains each message before it is decided. */
async function byExplaining(path: string): Promise<Told> {
  const { gate, carry } = await openGate(path, 'mqtt')
  const reader = new CaptureReader('mqtt')
  try {
    return await carry(async line => {
      const { message } = reader.read(Buffer.from(JSON.stringify(line)))!
      const { decision: explained } = await gate.explain(message)
      const decision = await gate.check(message)
      expect(told(explained)).toEqual(told(decision))
    })
  } finally {
    await gate.close()
  }
}

/** Removes the remaining units: explaining charges nothing, so everything else must be equal. */
function told({ remaining: _remaining, resetMs: _resetMs, ...decision }: Decision): object {
  return decision
}

async function byAedes(path: string): Promise<Told> {
  const { gate, carry } = await openGate(path, 'mqtt')
  const broker = await startBroker({ gate, limiter: { dropGateMs: 0 } })
  try {
    const sender = await broker.connect()
    return await carry(({ topic }, text) => sender.publishAsync(topic, text, { qos: 1 }))
  } finally {
    await broker.close()
  }
}

async function byConsumer(path: string): Promise<Told> {
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

async function byNats(path: string, generation: (typeof GENERATIONS)[number]): Promise<Told> {
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
  it('are decided alike by replay, explain, aedes, an MQTT.js consumer and both generations of NATS', {
    timeout: 120_000,
  }, async () => {
    using folder = new Folder()
    const path = folder.file('policy.yaml', POLICY)
    const replayed = await byReplay(folder, path)
    expect(replayed).toHaveLength(LINES.length)
    // Each rule, tier, exemption and penalty must be used, or the comparison would prove little.
    const { warned, ...explained } = await byExplaining(path)
    expect(explained.decided).toEqual(replayed)
    const answers = replayed.map(line => JSON.parse(line) as Decision)
    const refusing = answers.filter(({ allowed, rule }) => !allowed && rule !== null)
    expect(new Set(refusing.map(({ rule }) => rule))).toEqual(new Set(REFUSING))
    const reasons = new Set(answers.map(({ reason }) => reason))
    expect(reasons).toEqual(new Set(['ok', 'rate_limit_exceeded', 'quota_exceeded', 'exempt', 'banned']))
    expect(answers.some(({ outcome }) => outcome === 'degrade')).toBe(true)
    expect(new Set(warned.map(line => /"rule":"(\w+)"/.exec(line)?.[1]))).toEqual(
      new Set(['device', 'bytes']),
    )

    const lived = { decided: replayed, warned }
    expect(await byAedes(path)).toEqual(lived)
    expect(await byConsumer(path)).toEqual(lived)
    for (const generation of GENERATIONS) expect(await byNats(path, generation)).toEqual(lived)
  })
})
