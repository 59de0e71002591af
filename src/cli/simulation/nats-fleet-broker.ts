import type { NatsConnection } from '@nats-io/transport-node'
import { subscriptionRefused } from '../capture/subscription-refused.ts'
import type { CommandError } from '../terminal/command-error.ts'
import { requirePackages } from '../terminal/required-packages.ts'
import {
  type DeviceConnection,
  type FleetBroker,
  loginOf,
  MAX_PENDING_MESSAGES,
  unavailableError,
} from './fleet-broker.ts'
import { openSlowly } from './slow-connection.ts'

/** Time after which a subscriber that has lost its connection connects again. */
const RECONNECT_MS = 100
/** Messages after which a device waits for the answer to a PING. */
const FLUSH_MESSAGES = 100

/** Opens a NATS server for a fleet. Its devices do not reconnect: a lost connection is part of what is measured. */
export async function openNatsBroker(
  url: URL,
  filters: readonly string[],
  onDelivery: (payload: Uint8Array) => void,
): Promise<FleetBroker> {
  requirePackages('simulate --broker nats://…')
  const { connect } = await import('@nats-io/transport-node')
  const open = (
    name: string | undefined,
    user: string | undefined,
    reconnect: boolean,
  ): Promise<NatsConnection> => {
    const { username, password } = loginOf(url, user)
    const again = { reconnect, maxReconnectAttempts: -1, reconnectTimeWait: RECONNECT_MS }
    return connect({ servers: url.host, name, user: username, pass: password, ...again })
  }
  const subscriber = await open('topicgate-simulate', undefined, true).catch((cause: unknown) => {
    throw unavailableError(url, cause)
  })
  let refusal: CommandError | undefined
  for (const filter of filters) {
    subscriber.subscribe(filter, {
      callback: (error, message) => {
        if (error === null) onDelivery(message.data)
        else refusal ??= subscriptionRefused(filter, error)
      },
    })
  }
  // The server refuses a subscription before it answers.
  await subscriber.flush()
  if (refusal !== undefined) {
    await subscriber.close()
    throw refusal
  }
  return {
    connect: ({ sender: { client, user }, slowMs, onLost }) => {
      if (slowMs === undefined) return openDevice(open(client, user, false), onLost)
      const { username, password } = loginOf(url, user)
      const fields = { verbose: false, name: client, user: username, pass: password }
      const bytes = Buffer.from(`CONNECT ${JSON.stringify(fields)}\r\n`)
      const server = { host: url.hostname, port: Number(url.port) || 4222, isTls: false }
      return openSlowly(server, { bytes, slowMs, onLost })
    },
    close: () => subscriber.close(),
  }
}

function openDevice(device: Promise<NatsConnection>, onLost: () => void): DeviceConnection {
  let pending = 0
  let isClosing = false
  const reportLoss = (): void => {
    if (!isClosing) onLost()
  }
  device.then(connection => connection.closed()).then(reportLoss, reportLoss)
  // Messages of a connection that failed are missing in the result.
  const ifOpen = (use: (connection: NatsConnection) => unknown): void => void device.then(use).catch(() => {})
  const flush = async (connection: NatsConnection): Promise<void> => {
    await connection.flush()
    pending -= FLUSH_MESSAGES
  }
  return {
    publish: ({ topic, payload }) => {
      if (pending >= MAX_PENDING_MESSAGES) return false
      pending++
      const isFlushed = pending % FLUSH_MESSAGES === 0
      ifOpen(connection => {
        connection.publish(topic, payload)
        return isFlushed ? flush(connection) : undefined
      })
      return true
    },
    close: () => {
      isClosing = true
      ifOpen(connection => connection.drain())
    },
    destroy: () => {
      isClosing = true
      ifOpen(connection => connection.close())
    },
  }
}
