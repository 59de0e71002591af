import { startBroker } from '../brokers/aedes/harness.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { until } from '../support/wait.ts'
import { CELLS, ROOM, SENT } from './broker-cells.ts'
import type { BrokerDriver, BrokerScene } from './broker-suite.ts'

const WAYS = ['QoS 0', 'QoS 1', 'QoS 2']

/** Drivers of the aedes plugin, with MQTT 3.1.1 clients. */
export const aedesDriver: BrokerDriver = {
  dialect: 'mqtt',
  ways: WAYS,
  cannot: outcome => (outcome === 'retry' ? /aedes cannot enact "retry" on publish/ : undefined),
  told: ({ outcome }, way) => {
    const closed: Readonly<Record<string, number>> = outcome === 'disconnect' ? { disconnected: 1 } : {}
    if (way === 'QoS 0') return closed
    return { acknowledged: outcome === 'disconnect' ? ROOM : SENT, ...closed }
  },
  async open(gate, way): Promise<BrokerScene> {
    const qos = WAYS.indexOf(way) as 0 | 1 | 2
    const broker = await startBroker({ gate, limiter: { dropGateMs: 0 } })
    const { port } = broker
    const [receiver, sender] = await Promise.all([connectClient({ port }), connectClient({ port })])
    await receiver.subscribe('#', qos)
    let acknowledged = 0
    let disconnected = 0
    sender.client.on('close', () => disconnected++)
    return {
      arrivals: receiver.messages,
      send: async payloads => {
        for (const [index, payload] of payloads.entries()) {
          // A QoS 2 exchange in progress when its connection ends gets no answer, which is not part of the cell.
          if (index === ROOM && qos > 0 && gate.outcomes('publish').has('disconnect'))
            await until(() => acknowledged === ROOM)
          sender.client.publish('in/a', payload, { qos }, error => {
            if (!error && qos > 0) acknowledged++
          })
        }
      },
      told: () => ({
        ...(acknowledged > 0 && { acknowledged }),
        ...(disconnected > 0 && { disconnected }),
      }),
      settle: async () => {
        const before = receiver.messages.length
        // After the others on their connection, if it still exists.
        const from = sender.client.connected ? sender : receiver
        await from.publish('end', '{}', { qos })
        await receiver.received(before + 1)
      },
      [Symbol.asyncDispose]: async () => {
        await Promise.all([receiver.close(), sender.close()])
        await broker.close()
      },
    }
  },
}

const KEPT = 'QoS 1 to a persistent session'
const CANNOT_BE_DELIVERED = new Set(['degrade', 'redirect', 'retry'])
/** All outcomes: aedes cannot remove a message from a session to which it has begun to deliver. */
const SPARED = new Set(['drop', 'reject', 'a function'])

/** Driver of deliveries by the aedes plugin: the rule limits the messages to one subscriber. */
export const aedesDeliveryDriver: BrokerDriver = {
  dialect: 'mqtt',
  on: 'deliver',
  ways: ['QoS 0', 'QoS 1', KEPT],
  cannot: outcome =>
    CANNOT_BE_DELIVERED.has(outcome) ? new RegExp(`aedes cannot enact "${outcome}" on deliver`) : undefined,
  expected: ({ outcome }, way) =>
    way === KEPT && SPARED.has(outcome) ? CELLS.find(each => each.outcome === 'queue')?.expected : undefined,
  told: ({ outcome }): Record<string, number> =>
    outcome === 'disconnect' ? { 'subscriber disconnected': 1 } : {},
  async open(gate, way): Promise<BrokerScene> {
    const qos = way === 'QoS 0' ? 0 : 1
    const broker = await startBroker({ gate })
    const { port } = broker
    const clean = way !== KEPT
    const [receiver, sender] = await Promise.all([
      connectClient({ port, clientId: 'receiver', clean }),
      connectClient({ port }),
    ])
    await receiver.subscribe('#', qos)
    let disconnected = 0
    receiver.client.on('close', () => disconnected++)
    return {
      arrivals: receiver.messages,
      send: async payloads => {
        for (const payload of payloads) await sender.publish('in/a', payload, { qos: 1 })
      },
      told: (): Record<string, number> =>
        disconnected > 0 ? { 'subscriber disconnected': disconnected } : {},
      settle: async () => {
        const before = receiver.messages.length
        await sender.publish('end', '{}', { qos: 1 })
        if (receiver.client.connected) await receiver.received(before + 1)
      },
      [Symbol.asyncDispose]: async () => {
        await Promise.all([receiver.close(), sender.close()])
        await broker.close()
      },
    }
  },
}
