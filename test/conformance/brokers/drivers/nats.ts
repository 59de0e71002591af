import { limitNats } from '../../../../brokers/nats/index.ts'
import type { Generation } from '../../../brokers/nats/client-versions.ts'
import { startNats } from '../../../support/nats.ts'
import { until } from '../../../support/wait.ts'
import type { Arrival, BrokerDriver, BrokerScene, SenderAnswers } from '../broker-suite.ts'
import { BURST, MESSAGE_COUNT, NO_REFILL_RATE, type OutcomeCase } from '../outcome-cases.ts'

const NO_ANSWERS: SenderAnswers = {}
const CORE = 'subscription'
const REQUESTS = 'requests'
const JETSTREAM = 'JetStream, explicit ack'

/** Driver of ordinary subscriptions, a service and a pull consumer, with one generation of the client. */
export function natsDriver(generation: Generation): BrokerDriver {
  return {
    dialect: 'nats',
    modes: [CORE, REQUESTS, JETSTREAM],
    unsupportedReason: (outcome, mode) => {
      if (outcome === 'disconnect') return /a consumer has no connection to the publisher/
      return outcome === 'retry' && mode === CORE ? /core NATS does not redeliver/ : undefined
    },
    rate: ({ outcome }, mode) => (outcome === 'retry' && mode === REQUESTS ? NO_REFILL_RATE : undefined),
    // A refused request is answered with a retry hint; its sender has to repeat it.
    expected: ({ outcome, expected }, mode) =>
      outcome === 'retry' && mode === REQUESTS
        ? { ...expected, whole: expected.whole.slice(0, BURST) }
        : undefined,
    expectedAnswers: ({ outcome, refused }: OutcomeCase, mode) => {
      if (mode === CORE) return NO_ANSWERS
      if (mode === JETSTREAM) return { acknowledged: MESSAGE_COUNT }
      // A redirected request is answered by subscribers of the redirect subject, of which there are none here.
      const answered = outcome === 'redirect' ? BURST : MESSAGE_COUNT - refused
      return { answered, ...(refused > 0 && { refused }) }
    },
    async open(gate, mode): Promise<BrokerScene> {
      const server = await startNats({ jetstream: true })
      const [nc, sender] = [await generation.connect(server.url), await generation.connect(server.url)]
      const arrivals: Arrival[] = []
      const addArrival = (message: { readonly subject: string; readonly data: Uint8Array }): void => {
        arrivals.push({ topic: message.subject, text: Buffer.from(message.data).toString() })
      }
      const limits = (() => {
        try {
          return limitNats(gate, { headers: generation.headers, connection: nc })
        } catch (error) {
          return error as Error
        }
      })()
      const close = async (): Promise<void> => {
        if (!(limits instanceof Error)) await limits.close()
        await nc.close()
        await sender.close()
        await server.stop()
      }
      try {
        if (limits instanceof Error) throw limits
        const js = await generation.jetstream(sender)
        const counts = { answered: 0, refused: 0 }
        let answers: () => SenderAnswers | Promise<SenderAnswers> = () => ({})
        let send: (subject: string, payload: string) => unknown = (subject, payload) =>
          sender.publish(subject, Buffer.from(payload))
        nc.subscribe('dead.>', { callback: (_error, message) => addArrival(message) })
        if (mode === CORE) limits.subscribe(nc, 'in.>', { callback: addArrival })
        else if (mode === REQUESTS) {
          limits.respond(nc, 'in.>', message => {
            addArrival(message)
            message.respond?.(Buffer.from('done'))
          })
          answers = () => Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0))
          send = (subject, payload) => {
            sender.request(subject, payload, { timeout: 8_000 }).then(
              reply => {
                if (reply.headers?.get('Nats-Service-Error-Code') === '429') counts.refused++
                else counts.answered++
              },
              () => {},
            )
          }
        } else {
          await js.addStream('s', ['in.>'])
          // A redirected message must be stored before the original is acknowledged.
          await js.addStream('dead', ['dead.>'])
          const consumer = await js.addConsumer('s', 'c')
          await limits.consume(consumer, addArrival)
          answers = async () => {
            const { num_ack_pending, num_pending } = await js.state('s', 'c')
            const acknowledged = MESSAGE_COUNT - num_ack_pending - num_pending
            return { acknowledged }
          }
          send = (subject, payload) => js.publish(subject, payload)
        }
        nc.subscribe('end', { callback: (_error, message) => addArrival(message) })
        await nc.flush()
        return {
          arrivals,
          send: async payloads => {
            await Promise.all(
              payloads.map(payload =>
                mode === REQUESTS ? void send('in.a', payload) : send('in.a', payload),
              ),
            )
          },
          answers,
          waitForPending: async () => {
            sender.publish('end', Buffer.from('{}'))
            await until(() => arrivals.some(({ topic }) => topic === 'end'))
          },
          [Symbol.asyncDispose]: close,
        }
      } catch (error) {
        await close()
        throw error
      }
    },
  }
}
