import { startGateway } from '../../../brokers/mqtt-gateway/harness.ts'
import { until } from '../../../support/wait.ts'
import type { BrokerDriver, BrokerScene, SenderAnswers } from '../broker-suite.ts'
import { BURST, MESSAGE_COUNT, type OutcomeCase } from '../outcome-cases.ts'

const MODES = ['QoS 0', 'QoS 1', 'QoS 2']

/** Driver of the MQTT gateway in front of Mosquitto: the rule limits what a client publishes through it. */
export function mqttGatewayDriver(version: 4 | 5): BrokerDriver {
  return {
    dialect: 'mqtt',
    modes: MODES,
    unsupportedReason: outcome =>
      outcome === 'retry' ? /the MQTT gateway cannot enact "retry" on publish/ : undefined,
    expectedAnswers: ({ outcome, refused }: OutcomeCase, mode): SenderAnswers => {
      const closed: SenderAnswers = outcome === 'disconnect' ? { disconnected: 1 } : {}
      if (mode === 'QoS 0') return closed
      const rejected = version === 5 && outcome === 'reject' ? refused : 0
      const acknowledged = outcome === 'disconnect' ? BURST : MESSAGE_COUNT - rejected
      return { acknowledged, ...(rejected > 0 && { refused: rejected }), ...closed }
    },
    async open(gate, mode): Promise<BrokerScene> {
      const qos = MODES.indexOf(mode) as 0 | 1 | 2
      const scene = await startGateway({ gate })
      try {
        const [receiver, sender] = await Promise.all([
          scene.connectDirectly(),
          scene.connect({ protocolVersion: version }),
        ])
        await receiver.subscribe('#', qos)
        let acknowledged = 0
        let refused = 0
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
                if (qos === 0) return
                if (!error) acknowledged++
                else if (!/[cC]lose|disconnect/.test(error.message)) refused++
              })
            }
          },
          answers: () => ({
            ...(acknowledged > 0 && { acknowledged }),
            ...(refused > 0 && { refused }),
            ...(disconnected > 0 && { disconnected }),
          }),
          waitForPending: async () => {
            const before = receiver.messages.length
            // After the others on their connection, if it still exists.
            const from = sender.client.connected ? sender : receiver
            await from.publish('end', '{}', { qos })
            await receiver.received(before + 1)
          },
          [Symbol.asyncDispose]: () => scene.close(),
        }
      } catch (error) {
        await scene.close()
        throw error
      }
    },
  }
}

const CANNOT_BE_DELIVERED = new Set(['degrade', 'redirect', 'retry'])

/** Driver of deliveries through the MQTT gateway: the rule limits the messages to one subscriber. */
export function mqttGatewayDeliveryDriver(version: 4 | 5): BrokerDriver {
  return {
    dialect: 'mqtt',
    on: 'deliver',
    modes: MODES,
    unsupportedReason: outcome =>
      CANNOT_BE_DELIVERED.has(outcome)
        ? new RegExp(`the MQTT gateway cannot enact "${outcome}" on deliver`)
        : undefined,
    expectedAnswers: ({ outcome }): SenderAnswers =>
      outcome === 'disconnect' ? { 'subscriber disconnected': 1 } : {},
    async open(gate, mode): Promise<BrokerScene> {
      const qos = MODES.indexOf(mode) as 0 | 1 | 2
      const scene = await startGateway({ gate })
      try {
        const [receiver, sender] = await Promise.all([
          scene.connect({ protocolVersion: version }),
          scene.connectDirectly(),
        ])
        await receiver.subscribe('#', qos)
        let disconnected = 0
        receiver.client.on('close', () => disconnected++)
        return {
          arrivals: receiver.messages,
          send: async payloads => {
            for (const [index, payload] of payloads.entries()) {
              // As above: an exchange in progress delivers nothing.
              if (index === BURST && gate.outcomes('deliver').has('disconnect'))
                await receiver.received(BURST)
              await sender.publish('in/a', payload, { qos: qos === 0 ? 1 : qos })
            }
          },
          answers: (): SenderAnswers => (disconnected > 0 ? { 'subscriber disconnected': disconnected } : {}),
          waitForPending: async () => {
            const before = receiver.messages.length
            await sender.publish('end', '{}', { qos: 1 })
            if (receiver.client.connected) await receiver.received(before + 1)
          },
          [Symbol.asyncDispose]: () => scene.close(),
        }
      } catch (error) {
        await scene.close()
        throw error
      }
    },
  }
}
