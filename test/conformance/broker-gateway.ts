import { startGateway } from '../brokers/mqtt-gateway/harness.ts'
import { until } from '../support/wait.ts'
import { type Cell, ROOM, SENT } from './broker-cells.ts'
import type { BrokerDriver, BrokerScene, Told } from './broker-suite.ts'

const WAYS = ['QoS 0', 'QoS 1', 'QoS 2']

/** Driver of the MQTT gateway in front of Mosquitto: the rule limits what a client publishes through it. */
export function gatewayDriver(version: 4 | 5): BrokerDriver {
  return {
    dialect: 'mqtt',
    ways: WAYS,
    cannot: outcome => (outcome === 'retry' ? /the MQTT gateway cannot enact "retry" on publish/ : undefined),
    told: ({ outcome, refused }: Cell, way): Told => {
      const closed: Told = outcome === 'disconnect' ? { disconnected: 1 } : {}
      if (way === 'QoS 0') return closed
      const no = version === 5 && outcome === 'reject' ? refused : 0
      const acknowledged = outcome === 'disconnect' ? ROOM : SENT - no
      return { acknowledged, ...(no > 0 && { refused: no }), ...closed }
    },
    async open(gate, way): Promise<BrokerScene> {
      const qos = WAYS.indexOf(way) as 0 | 1 | 2
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
              // A QoS 2 exchange in progress when its connection ends gets no answer, which is not part of the cell.
              if (index === ROOM && qos > 0 && gate.outcomes('publish').has('disconnect'))
                await until(() => acknowledged === ROOM)
              sender.client.publish('in/a', payload, { qos }, error => {
                if (qos === 0) return
                if (!error) acknowledged++
                else if (!/[cC]lose|disconnect/.test(error.message)) refused++
              })
            }
          },
          told: () => ({
            ...(acknowledged > 0 && { acknowledged }),
            ...(refused > 0 && { refused }),
            ...(disconnected > 0 && { disconnected }),
          }),
          settle: async () => {
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
export function gatewayDeliveryDriver(version: 4 | 5): BrokerDriver {
  return {
    dialect: 'mqtt',
    on: 'deliver',
    ways: WAYS,
    cannot: outcome =>
      CANNOT_BE_DELIVERED.has(outcome)
        ? new RegExp(`the MQTT gateway cannot enact "${outcome}" on deliver`)
        : undefined,
    told: ({ outcome }): Told => (outcome === 'disconnect' ? { 'subscriber disconnected': 1 } : {}),
    async open(gate, way): Promise<BrokerScene> {
      const qos = WAYS.indexOf(way) as 0 | 1 | 2
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
              if (index === ROOM && gate.outcomes('deliver').has('disconnect')) await receiver.received(ROOM)
              await sender.publish('in/a', payload, { qos: qos === 0 ? 1 : qos })
            }
          },
          told: (): Told => (disconnected > 0 ? { 'subscriber disconnected': disconnected } : {}),
          settle: async () => {
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
