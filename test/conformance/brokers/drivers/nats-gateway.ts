import type { Generation, TestConnection } from '../../../brokers/nats/client-versions.ts'
import { startGateway } from '../../../brokers/nats-gateway/harness.ts'
import { until } from '../../../support/wait.ts'
import type { Arrival, BrokerDriver, BrokerScene, SenderAnswers } from '../broker-suite.ts'
import { BURST, MESSAGE_COUNT, type OutcomeCase } from '../outcome-cases.ts'

const PUBLISH = 'publish'
const REQUEST = 'request'
const JETSTREAM = 'JetStream publish'

/** Subscribes a connection and returns its arrivals. The server itself answers publishes to a stream. */
async function receive(nc: TestConnection, answersRequests = false): Promise<readonly Arrival[]> {
  const arrivals: Arrival[] = []
  for (const subject of ['in.>', 'dead.>', 'end']) {
    nc.subscribe(subject, {
      callback: (_error, message) => {
        arrivals.push({ topic: message.subject, text: Buffer.from(message.data).toString() })
        if (answersRequests) message.respond?.('done')
      },
    })
  }
  await nc.flush()
  return arrivals
}

function hasEnded(arrivals: readonly Arrival[]): boolean {
  return arrivals.some(({ topic }) => topic === 'end')
}

/** Driver of the NATS gateway: the rule limits what a client publishes through it. */
export function natsGatewayDriver(generation: Generation): BrokerDriver {
  return {
    dialect: 'nats',
    modes: [PUBLISH, REQUEST, JETSTREAM],
    unsupportedReason: outcome =>
      outcome === 'retry' ? /the NATS gateway cannot enact "retry" on publish/ : undefined,
    expectedAnswers: ({ outcome, refused }: OutcomeCase, mode): SenderAnswers => {
      const closed: SenderAnswers = outcome === 'disconnect' ? { disconnected: 1 } : {}
      if (mode === PUBLISH) return closed
      if (outcome === 'disconnect') return { answered: BURST, ...closed }
      return { answered: MESSAGE_COUNT - refused, ...(refused > 0 && { refused }) }
    },
    async open(gate, mode): Promise<BrokerScene> {
      const scene = await startGateway({ gate, server: { jetstream: mode === JETSTREAM } })
      try {
        const [receiver, sender] = await Promise.all([
          generation.connect(scene.server.url),
          generation.connect(scene.url, { reconnect: false }),
        ])
        const counts = { answered: 0, refused: 0, disconnected: 0 }
        let send: (payload: string) => unknown = payload => sender.publish('in.a', Buffer.from(payload))
        if (mode === JETSTREAM) {
          const js = await generation.jetstream(sender)
          await js.addStream('in', ['in.>'])
          await js.addStream('dead', ['dead.>'])
          send = payload =>
            js.publish('in.a', payload).then(
              () => counts.answered++,
              (error: Error) => {
                if (error.message === 'too many requests') counts.refused++
              },
            )
        } else if (mode === REQUEST) {
          send = payload =>
            sender.request('in.a', payload, { timeout: 8_000 }).then(
              reply => {
                if (reply.headers?.get('Nats-Service-Error-Code') === '429') counts.refused++
                else counts.answered++
              },
              () => {},
            )
        }
        const arrivals = await receive(receiver, mode === REQUEST)
        void sender.closed().then(() => counts.disconnected++)
        return {
          arrivals,
          send: async payloads => {
            for (const [index, payload] of payloads.entries()) {
              // Answers on their way when a connection ends are lost, which is not part of the case.
              if (index === BURST && mode !== PUBLISH && gate.outcomes('publish').has('disconnect'))
                await until(() => counts.answered === BURST)
              void send(payload)
            }
          },
          answers: () => Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0)),
          waitForPending: async () => {
            // Behind the others on their connection, if it still exists.
            const from = sender.isClosed() ? receiver : sender
            from.publish('end', Buffer.from('{}'))
            await until(() => hasEnded(arrivals))
          },
          [Symbol.asyncDispose]: async () => {
            await Promise.all([receiver.close(), sender.close()])
            await scene.close()
          },
        }
      } catch (error) {
        await scene.close()
        throw error
      }
    },
  }
}

const CANNOT_BE_DELIVERED = new Set(['degrade', 'redirect', 'retry'])

/** Driver of deliveries through the NATS gateway: the rule limits the messages to one subscriber. */
export function natsGatewayDeliveryDriver(generation: Generation): BrokerDriver {
  return {
    dialect: 'nats',
    on: 'deliver',
    modes: ['subscription'],
    unsupportedReason: outcome =>
      CANNOT_BE_DELIVERED.has(outcome)
        ? new RegExp(`the NATS gateway cannot enact "${outcome}" on deliver`)
        : undefined,
    expectedAnswers: ({ outcome }): SenderAnswers =>
      outcome === 'disconnect' ? { 'subscriber disconnected': 1 } : {},
    async open(gate): Promise<BrokerScene> {
      const scene = await startGateway({ gate })
      try {
        const [receiver, sender] = await Promise.all([
          generation.connect(scene.url, { reconnect: false }),
          generation.connect(scene.server.url),
        ])
        const arrivals = await receive(receiver)
        let disconnected = 0
        void receiver.closed().then(() => disconnected++)
        return {
          arrivals,
          send: async payloads => {
            for (const payload of payloads) sender.publish('in.a', Buffer.from(payload))
            await sender.flush()
          },
          answers: (): SenderAnswers => (disconnected > 0 ? { 'subscriber disconnected': disconnected } : {}),
          waitForPending: async () => {
            sender.publish('end', Buffer.from('{}'))
            await sender.flush()
            await until(() => hasEnded(arrivals) || receiver.isClosed())
          },
          [Symbol.asyncDispose]: async () => {
            await Promise.all([receiver.close(), sender.close()])
            await scene.close()
          },
        }
      } catch (error) {
        await scene.close()
        throw error
      }
    },
  }
}
