import { limitConsumer } from '../../brokers/mqtt/index.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { until } from '../support/wait.ts'
import { type Cell, SENT } from './broker-cells.ts'
import type { Arrival, BrokerDriver, BrokerScene, Told } from './broker-suite.ts'

const WAYS = ['QoS 0', 'QoS 1', 'QoS 2']

/** Maximum concurrent messages that Mosquitto accepts at QoS 2. */
const AT_ONCE = 16

const REASONS: Readonly<Record<string, RegExp>> = {
  retry: /does not redeliver on the same connection/,
  disconnect: /would end the consumer, not the sender/,
}

/**
 * Driver of a limited MQTT.js client that receives from Mosquitto; the answers are what the client replies to the
 * broker.
 */
export function mqttDriver(version: 4 | 5): BrokerDriver {
  return {
    dialect: 'mqtt',
    ways: WAYS,
    cannot: outcome => REASONS[outcome],
    told: ({ outcome, refused }: Cell, way) => {
      if (way === 'QoS 0') return {}
      const no = version === 5 && outcome === 'reject' ? refused : 0
      return { acknowledged: SENT - no, ...(no > 0 && { refused: no }) }
    },
    async open(gate, way): Promise<BrokerScene> {
      const qos = WAYS.indexOf(way) as 0 | 1 | 2
      // Mosquitto 2.0.11 does not free the slot of a refused QoS 2 message: after 20 it sends nothing more.
      const broker = await startMosquitto({ config: ['max_inflight_messages 100'] })
      const connect = (): ReturnType<typeof connectClient> =>
        connectClient({ port: broker.port, protocolVersion: version })
      const [receiver, sender, second] = await Promise.all([connect(), connect(), connect()])
      const arrivals: Arrival[] = []
      const handler = (topic: string, payload: Buffer): void => {
        arrivals.push({ topic, text: payload.toString() })
      }
      const close = async (): Promise<void> => {
        await Promise.all([receiver.close(), sender.close(), second.close()])
        await broker.stop()
      }
      try {
        const answers = countAnswers(receiver.client)
        const limits = limitConsumer(receiver.client, gate, { handler, deadLetter: second.client })
        await receiver.subscribe('#', qos)
        return {
          arrivals,
          send: async payloads => {
            for (let sent = 0; sent < payloads.length; sent += AT_ONCE) {
              const batch = payloads.slice(sent, sent + AT_ONCE)
              await Promise.all(batch.map(payload => sender.publish('in/a', payload, { qos })))
            }
          },
          told: () => answers(/^in\//),
          settle: async () => {
            await sender.publish('end', '{}', { qos })
            await until(() => arrivals.some(({ topic }) => topic === 'end'))
          },
          [Symbol.asyncDispose]: async () => {
            limits.close()
            await close()
          },
        }
      } catch (error) {
        await close()
        throw error
      }
    },
  }
}

type Client = Awaited<ReturnType<typeof connectClient>>['client']

/** Counts a client's replies to messages on matching topics by packet type, observed from outside. */
function countAnswers(client: Client): (which: RegExp) => Told {
  const topics = new Map<number, string>()
  const told: { topic: string; taken: boolean }[] = []
  client.on('packetreceive', packet => {
    if (packet.cmd === 'publish' && packet.messageId !== undefined) topics.set(packet.messageId, packet.topic)
  })
  client.on('packetsend', packet => {
    const isRefusal = Number((packet as { reasonCode?: number }).reasonCode ?? 0) >= 0x80
    const ends = packet.cmd === 'puback' || packet.cmd === 'pubcomp' || (packet.cmd === 'pubrec' && isRefusal)
    if (ends) told.push({ topic: topics.get(Number(packet.messageId)) ?? '', taken: !isRefusal })
  })
  return which => {
    const ours = told.filter(({ topic }) => which.test(topic))
    const acknowledged = ours.filter(({ taken }) => taken).length
    const refused = ours.length - acknowledged
    return { ...(acknowledged > 0 && { acknowledged }), ...(refused > 0 && { refused }) }
  }
}
