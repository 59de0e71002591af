import { afterEach, describe, expect, it } from 'vitest'
import { limit } from '../../src/chain/rules/create-limit-middleware.ts'
import type { ExceededSpec } from '../../src/chain/rules/rule-options.ts'
import { Gate } from '../../src/gate/gate.ts'
import { eventually, startBroker, type TestBroker } from '../brokers/aedes/harness.ts'
import { runFleet } from '../support/fleet.ts'
import { type Flood, mosquittoInstalled, startFlood, startMosquittoFlood } from './flood.ts'

const RATE = 100
const BURST = 100

let running: TestBroker | undefined
let endFlood: (() => Promise<void>) | undefined
afterEach(async () => {
  await endFlood?.()
  await running?.close()
  endFlood = undefined
  running = undefined
})

/** Clients that publish five times a second, at QoS 1. */
const QUIET = `
for: 10s
fleet: [{ name: quiet, count: 10, topic: "t/{client}", qos: 1, send: { every: 200ms }, expect: { delivered: 100% } }]
`

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
      const passed: number[] = []
      running.broker.on('publish', (packet, client) => {
        if (client?.id === 'flood-0') passed.push(Number(packet.payload.toString()))
      })

      const flood: Flood = { port: running.port, clients: 1, topic: 't/flood', payloadBytes: 8, qos, count }
      const { end } = startMosquittoFlood(flood) ?? startFlood(flood)
      endFlood = end
      await eventually(() => expect(passed.length).toBeGreaterThan(0))
      const startMs = performance.now()
      const [quiet] = await runFleet(QUIET, `mqtt://127.0.0.1:${running.port}`)
      const seconds = (performance.now() - startMs) / 1_000
      const admitted = passed.length

      expect(quiet).toMatchObject({ connects: 10, messages: 500, delivered: 500, disordered: 0 })
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
