import { expect, it } from 'vitest'
import { limitConsumer } from '../../brokers/mqtt/index.ts'
import { limitNats } from '../../brokers/nats/index.ts'
import type { Dialect, MessageHeaders } from '../../src/core/message.ts'
import { Gate } from '../../src/index.ts'
import { GENERATIONS } from '../brokers/nats/client-versions.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startNats } from '../support/nats.ts'
import { until } from '../support/wait.ts'

const SECRET = 'a secret of some length'
const DEVICES = 40
const OF_EACH = 25
const EMERGENCIES = 5
const PER_DEVICE = 10
const GUESTS = 100

const policy = (dialect: Dialect): string => {
  const guest = `guest${dialect === 'mqtt' ? '/' : '.'}{device}`
  return `
version: 1
dialect: ${dialect}
senders: { device: "{topic.device}" }
tiers:
  free: { limit: 1000/min }
  assign: { from: "{header.tier}", default: free }
exempt:
  - { name: bypass, when: { header: { name: x-bypass, secret: ${SECRET} } } }
  - { name: emergencies, when: { payload: { field: priority, equals: emergency } }, limit: ${EMERGENCIES}/min per device }
rules:
  - { name: device, topic: "${guest}", per: device, limit: ${PER_DEVICE}/min, exceeded: drop }
  - { name: guests, topic: "${guest}", limit: ${GUESTS}/min, exceeded: drop }
`
}

/** What somebody without the secret may try. */
const FORGED: readonly MessageHeaders[] = [
  { 'x-bypass': '', tier: 'admin' },
  { 'x-bypass': SECRET.slice(0, -1), tier: 'enterprise' },
  { 'x-bypass': SECRET.toUpperCase(), tier: ['admin', 'enterprise'] },
  { 'x-bypass': ['x', `x${SECRET}`, 'z'], tier: '__proto__' },
  { 'x-bypass': 'x'.repeat(20_000) },
  { bypass: SECRET, priority: 'emergency', roles: 'admin', user: 'operator' },
  { __proto__: SECRET, constructor: 'x', 'x-bypass': '*' },
]

interface Way {
  readonly dialect: Dialect
  /** Sends to a topic, with headers. */
  readonly send: (
    topic: string,
    payload: string,
    headers: MessageHeaders | undefined,
  ) => Promise<unknown> | undefined
  readonly close: () => Promise<void>
}

async function byMqtt(gate: Gate, seen: (topic: string) => void): Promise<Way> {
  const broker = await startMosquitto()
  const open = (): ReturnType<typeof connectClient> =>
    connectClient({ port: broker.port, protocolVersion: 5 })
  const [receiver, sender] = await Promise.all([open(), open()])
  const limits = limitConsumer(receiver.client, gate, { handler: topic => seen(topic) })
  await receiver.subscribe('#', 1)
  return {
    dialect: 'mqtt',
    send: (topic, payload, headers) => {
      const userProperties = headers as Record<string, string | string[]> | undefined
      return sender.publish(topic, payload, {
        qos: 1,
        ...(userProperties && { properties: { userProperties } }),
      })
    },
    close: async () => {
      limits.close()
      await Promise.all([receiver.close(), sender.close()])
      await broker.stop()
    },
  }
}

const byNats =
  (generation: (typeof GENERATIONS)[number]) =>
  async (gate: Gate, seen: (topic: string) => void): Promise<Way> => {
    const server = await startNats()
    const nc = await generation.connect(server.url)
    const limits = limitNats(gate, { headers: generation.headers, connection: nc })
    limits.subscribe(nc, '*.*', { callback: ({ subject }) => seen(subject) })
    await nc.flush()
    const publish = nc.publish.bind(nc) as (subject: string, data: Uint8Array, options: object) => void
    return {
      dialect: 'nats',
      send: (topic, payload, forged) => {
        const headers = generation.headers() as ReturnType<typeof generation.headers> & {
          append(name: string, value: string): void
        }
        for (const [name, values] of Object.entries(forged ?? {}))
          for (const value of [values].flat()) headers.append(name, value)
        publish(topic, Buffer.from(payload), { headers })
        return undefined
      },
      close: async () => {
        await limits.close()
        await nc.close()
        await server.stop()
      },
    }
  }

it.each([
  ['MQTT 5 user properties', 'mqtt', byMqtt],
  ...GENERATIONS.map(each => [`headers of ${each.name}`, 'nats', byNats(each)] as const),
] as const)(
  '%s that are forged open nothing: exactly what the policy allows passes',
  async (_, dialect, open) => {
    // Time stands still: what passes is what each limit holds, to the message.
    const gate = await Gate.fromPolicy(policy(dialect), { clock: new FakeClock() })
    const reasons: Record<string, number> = {}
    let decided = 0
    gate.on('decision', ({ allowed, reason, exemption }) => {
      decided++
      const name = allowed ? (exemption ?? reason) : 'refused'
      reasons[name] = (reasons[name] ?? 0) + 1
    })
    const seen: string[] = []
    const way = await open(gate, topic => void seen.push(topic))
    try {
      const dot = dialect === 'mqtt' ? '/' : '.'
      const emergency = JSON.stringify({ priority: 'emergency', tier: 'admin' })
      for (let round = 0; round < OF_EACH; round++) {
        const sent: unknown[] = []
        for (let device = 0; device < DEVICES; device++)
          sent.push(way.send(`guest${dot}d${device}`, emergency, FORGED[(round + device) % FORGED.length]))
        sent.push(way.send(`known${dot}good`, '{}', undefined))
        await Promise.all(sent)
      }
      const all = OF_EACH * (DEVICES + 1)
      await until(() => decided === all, { what: () => `${all} decisions; there are ${decided}` })
      expect(reasons).toEqual({
        emergencies: DEVICES * EMERGENCIES,
        ok: GUESTS + OF_EACH,
        refused: DEVICES * (OF_EACH - EMERGENCIES) - GUESTS,
      })
      expect(seen.filter(topic => topic.startsWith('known'))).toHaveLength(OF_EACH)
      expect(seen).toHaveLength(DEVICES * EMERGENCIES + GUESTS + OF_EACH)
      // Who has the secret passes.
      await way.send(`guest${dot}d0`, '{}', { 'x-bypass': ['guess', SECRET] })
      await until(() => reasons.bypass === 1)
    } finally {
      await way.close()
      await gate.close()
    }
  },
)
