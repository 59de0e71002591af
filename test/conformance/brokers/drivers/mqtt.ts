import { limitConsumer } from '../../../../brokers/mqtt/index.ts'
import { startMosquitto } from '../../../support/mosquitto.ts'
import { connectClient } from '../../../support/mqtt-client.ts'
import { until } from '../../../support/wait.ts'
import type { Arrival, BrokerDriver, BrokerScene, SenderAnswers } from '../broker-suite.ts'
import { MESSAGE_COUNT, type OutcomeCase } from '../outcome-cases.ts'

const MODES = ['QoS 0', 'QoS 1', 'QoS 2']

/** Maximum number of unacknowledged messages that Mosquitto accepts at QoS 2. */
const MAX_CONCURRENT = 16

const UNSUPPORTED_REASONS: Readonly<Record<string, RegExp>> = {
  retry: /does not redeliver on the same connection/,
  disconnect: /would end the consumer, not the sender/,
}

/**
 * Driver of a limited MQTT.js client that receives from Mosquitto. Its answers are the acknowledgements that the client
 * sends to the broker.
 */
export function mqttDriver(version: 4 | 5): BrokerDriver {
  return {
    dialect: 'mqtt',
    modes: MODES,
    unsupportedReason: outcome => UNSUPPORTED_REASONS[outcome],
    expectedAnswers: ({ outcome, refused }: OutcomeCase, mode) => {
      if (mode === 'QoS 0') return {}
      const rejected = version === 5 && outcome === 'reject' ? refused : 0
      return { acknowledged: MESSAGE_COUNT - rejected, ...(rejected > 0 && { refused: rejected }) }
    },
    async open(gate, mode): Promise<BrokerScene> {
      const qos = MODES.indexOf(mode) as 0 | 1 | 2
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
        const countAnswersOn = countAnswers(receiver.client)
        const limits = limitConsumer(receiver.client, gate, { handler, deadLetter: second.client })
        await receiver.subscribe('#', qos)
        return {
          arrivals,
          send: async payloads => {
            for (let sent = 0; sent < payloads.length; sent += MAX_CONCURRENT) {
              const batch = payloads.slice(sent, sent + MAX_CONCURRENT)
              await Promise.all(batch.map(payload => sender.publish('in/a', payload, { qos })))
            }
          },
          answers: () => countAnswersOn(/^in\//),
          waitForPending: async () => {
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

/** Returns a function that counts the acknowledgements a client has sent for messages of matching topics. */
function countAnswers(client: Client): (topics: RegExp) => SenderAnswers {
  const topicsById = new Map<number, string>()
  const sent: { topic: string; isAccepted: boolean }[] = []
  client.on('packetreceive', packet => {
    if (packet.cmd === 'publish' && packet.messageId !== undefined)
      topicsById.set(packet.messageId, packet.topic)
  })
  client.on('packetsend', packet => {
    const isRefusal = Number((packet as { reasonCode?: number }).reasonCode ?? 0) >= 0x80
    const isFinal =
      packet.cmd === 'puback' || packet.cmd === 'pubcomp' || (packet.cmd === 'pubrec' && isRefusal)
    if (isFinal) sent.push({ topic: topicsById.get(Number(packet.messageId)) ?? '', isAccepted: !isRefusal })
  })
  return topics => {
    const matching = sent.filter(({ topic }) => topics.test(topic))
    const acknowledged = matching.filter(({ isAccepted }) => isAccepted).length
    const refused = matching.length - acknowledged
    return { ...(acknowledged > 0 && { acknowledged }), ...(refused > 0 && { refused }) }
  }
}
