import type { MqttClient } from 'mqtt'
import { afterEach, describe, expect, it } from 'vitest'
import { limit } from '../../src/chain/rules/create-limit-middleware.ts'
import type { ExceededSpec } from '../../src/chain/rules/rule-options.ts'
import { Gate } from '../../src/gate/gate.ts'
import { eventually, startBroker, subscribeAll, type TestBroker } from '../brokers/aedes/harness.ts'
import { type Flood, mosquittoInstalled, startFlood, startMosquittoFlood } from './flood.ts'
import { pause } from './pause.ts'

const RATE = 100
const BURST = 100
const QUIET = 10
const FOR_MS = 10_000

let running: TestBroker | undefined
let endFlood: (() => Promise<void>) | undefined
afterEach(async () => {
  await endFlood?.()
  await running?.close()
  endFlood = undefined
  running = undefined
})

/** Publishes numbers five times a second, at QoS 1; answers how many. */
async function publishQuietly(client: MqttClient, name: string, forMs: number): Promise<number> {
  const endMs = performance.now() + forMs
  let count = 0
  const acks: Promise<unknown>[] = []
  while (performance.now() < endMs) {
    acks.push(client.publishAsync(`t/quiet/${name}`, String(count++), { qos: 1 }))
    await pause(200)
  }
  await Promise.all(acks)
  return count
}

describe('a flood against a limit of 100/s', () => {
  const by = mosquittoInstalled() ? 'mosquitto_pub' : 'a flooder of our own, as mosquitto_pub is missing'
  it.each([
    ['drop', 0, 50_000],
    ['drop', 1, 2_000],
    ['throttle', 0, 50_000],
    ['throttle', 1, 2_000],
  ] as [ExceededSpec, 0 | 1, number][])(
    `with %s at QoS %i of %i messages by ${by} passes at its rate, and ten quiet clients lose nothing`,
    async (exceeded, qos, count) => {
      const gate = new Gate().use(
        't/#',
        limit({ name: 't', rate: `${RATE}/s burst ${BURST}`, per: 'client', exceeded }),
      )
      running = await startBroker({ gate })
      const seen = await subscribeAll(await running.connect({ clientId: 'watch' }), 't/quiet/#', 1)
      const passed: number[] = []
      running.broker.on('publish', (packet, client) => {
        if (client?.id === 'flood-0') passed.push(Number(packet.payload.toString()))
      })
      const quiet: MqttClient[] = []
      for (let i = 0; i < QUIET; i++) quiet.push(await running.connect({ clientId: `quiet-${i}` }))

      const flood: Flood = { port: running.port, clients: 1, topic: 't/flood', payloadBytes: 8, qos, count }
      const { end } = startMosquittoFlood(flood) ?? startFlood(flood)
      endFlood = end
      await eventually(() => expect(passed.length).toBeGreaterThan(0))
      const startMs = performance.now()
      const sent = await Promise.all(quiet.map((client, i) => publishQuietly(client, String(i), FOR_MS)))
      const seconds = (performance.now() - startMs) / 1_000
      const admitted = passed.length

      await eventually(() => expect(seen).toHaveLength(sent.reduce((sum, n) => sum + n, 0)))
      for (const [i, n] of sent.entries()) {
        const numbers = seen.flatMap(({ topic, text }) => (topic === `t/quiet/${i}` ? [Number(text)] : []))
        expect(numbers).toEqual(Array.from({ length: n }, (_, number) => number))
      }
      expect(Math.min(...sent)).toBeGreaterThan(30)
      expect(admitted).toBeLessThanOrEqual(BURST + RATE * (seconds + 1))
      // Dropping ends the flood before the ten seconds; throttling spreads it over all of them.
      if (exceeded === 'throttle') {
        expect(admitted).toBeGreaterThanOrEqual(BURST + RATE * (seconds - 1))
        expect(passed).toEqual(Array.from({ length: admitted }, (_, i) => i + 1))
      } else {
        expect(admitted).toBeGreaterThanOrEqual(BURST)
        expect(passed).toEqual([...passed].sort((a, b) => a - b))
      }
    },
  )
})
