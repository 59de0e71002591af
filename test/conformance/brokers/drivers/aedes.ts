import { startBroker } from '../../../brokers/aedes/harness.ts'
import { connectClient } from '../../../support/mqtt-client.ts'
import { until } from '../../../support/wait.ts'
import type { BrokerDriver, BrokerScene } from '../broker-suite.ts'
import { BURST, MESSAGE_COUNT, OUTCOME_CASES } from '../outcome-cases.ts'

const MODES = ['QoS 0', 'QoS 1', 'QoS 2']

/** Drivers of the aedes plugin, with MQTT 3.1.1 clients. */
export const aedesDriver: BrokerDriver = {
  dialect: 'mqtt',
  modes: MODES,
  unsupportedReason: outcome => (outcome === 'retry' ? /aedes cannot enact "retry" on publish/ : undefined),
  expectedAnswers: ({ outcome }, mode) => {
    const closed: Readonly<Record<string, number>> = outcome === 'disconnect' ? { disconnected: 1 } : {}
    if (mode === 'QoS 0') return closed
    return { acknowledged: outcome === 'disconnect' ? BURST : MESSAGE_COUNT, ...closed }
  },
  async open(gate, mode): Promise<BrokerScene> {
    const qos = MODES.indexOf(mode) as 0 | 1 | 2
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
          // A QoS 2 exchange in progress when its connection ends gets no answer, which is not part of the case.
          if (index === BURST && qos > 0 && gate.outcomes('publish').has('disconnect'))
            await until(() => acknowledged === BURST)
          sender.client.publish('in/a', payload, { qos }, error => {
            if (!error && qos > 0) acknowledged++
          })
        }
      },
      answers: () => ({
        ...(acknowledged > 0 && { acknowledged }),
        ...(disconnected > 0 && { disconnected }),
      }),
      waitForPending: async () => {
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

const PERSISTENT = 'QoS 1 to a persistent session'
const CANNOT_BE_DELIVERED = new Set(['degrade', 'redirect', 'retry'])
/** Outcomes that deliver all messages to a session: aedes cannot remove a message whose delivery it has begun. */
const DELIVERED_ANYWAY = new Set(['drop', 'reject', 'a function'])

/** Driver of deliveries by the aedes plugin: the rule limits the messages to one subscriber. */
export const aedesDeliveryDriver: BrokerDriver = {
  dialect: 'mqtt',
  on: 'deliver',
  modes: ['QoS 0', 'QoS 1', PERSISTENT],
  unsupportedReason: outcome =>
    CANNOT_BE_DELIVERED.has(outcome) ? new RegExp(`aedes cannot enact "${outcome}" on deliver`) : undefined,
  expected: ({ outcome }, mode) =>
    mode === PERSISTENT && DELIVERED_ANYWAY.has(outcome)
      ? OUTCOME_CASES.find(each => each.outcome === 'queue')?.expected
      : undefined,
  expectedAnswers: ({ outcome }): Record<string, number> =>
    outcome === 'disconnect' ? { 'subscriber disconnected': 1 } : {},
  async open(gate, mode): Promise<BrokerScene> {
    const qos = mode === 'QoS 0' ? 0 : 1
    const broker = await startBroker({ gate })
    const { port } = broker
    const clean = mode !== PERSISTENT
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
      answers: (): Record<string, number> =>
        disconnected > 0 ? { 'subscriber disconnected': disconnected } : {},
      waitForPending: async () => {
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
