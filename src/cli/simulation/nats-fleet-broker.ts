import type { NatsConnection } from '@nats-io/transport-node'
import { requirePackages } from '../required-packages.ts'
import { type FleetBroker, loginOf, unavailable } from './fleet-broker.ts'

/** Opens a NATS server for a fleet. Devices connect once: a lost connection is part of what is measured. */
export async function openNatsBroker(
  url: URL,
  filters: readonly string[],
  onDelivery: (payload: Uint8Array) => void,
): Promise<FleetBroker> {
  requirePackages('simulate --broker nats://…')
  const { connect } = await import('@nats-io/transport-node')
  const open = (name: string | undefined, user: string | undefined): Promise<NatsConnection> => {
    const { username, password } = loginOf(url, user)
    return connect({ servers: url.host, name, user: username, pass: password, reconnect: false })
  }
  const subscriber = await open('topicgate-simulate', undefined).catch((cause: unknown) => {
    throw unavailable(url, cause)
  })
  for (const filter of filters) {
    subscriber.subscribe(filter, {
      callback: (error, message) => {
        if (error === null) onDelivery(message.data)
      },
    })
  }
  await subscriber.flush()
  return {
    connect: ({ client, user }) => {
      const device = open(client, user)
      // Its messages are missing in the result.
      const ifOpen = (use: (connection: NatsConnection) => unknown): void =>
        void device.then(use).catch(() => {})
      return {
        publish: ({ topic, payload }) => ifOpen(connection => connection.publish(topic, payload)),
        close: () => ifOpen(connection => connection.drain()),
        destroy: () => ifOpen(connection => connection.close()),
      }
    },
    close: () => subscriber.close(),
  }
}
