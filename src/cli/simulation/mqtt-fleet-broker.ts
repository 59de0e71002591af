import type { IClientOptions, MqttClient } from 'mqtt'
import { requirePackages } from '../required-packages.ts'
import {
  type DeviceConnection,
  type FleetBroker,
  loginOf,
  MAX_PENDING_MESSAGES,
  unavailable,
} from './fleet-broker.ts'

/** Maximum wait of a device that leaves for its last messages. */
const CLOSE_MS = 5_000

/** Opens an MQTT broker for a fleet. Its clients do not reconnect: a lost connection is part of what is measured. */
export async function openMqttBroker(
  url: URL,
  filters: readonly string[],
  onDelivery: (payload: Uint8Array) => void,
): Promise<FleetBroker> {
  requirePackages('simulate --broker mqtt://…')
  const { connect, connectAsync } = await import('mqtt')
  const address = `${url.protocol}//${url.host}`
  const options: IClientOptions = { reconnectPeriod: 0, connectTimeout: 10_000, resubscribe: false }
  const subscriber: MqttClient = await connectAsync(address, { ...options, ...loginOf(url) }).catch(
    (cause: unknown) => {
      throw unavailable(url, cause)
    },
  )
  subscriber.on('error', () => {})
  subscriber.on('message', (_topic, payload) => onDelivery(payload))
  try {
    await subscriber.subscribeAsync([...filters], { qos: 1 })
  } catch (cause) {
    await subscriber.endAsync(true)
    throw unavailable(url, cause)
  }
  return {
    connect: ({ client: clientId, user }, onLost) =>
      openDevice(connect(address, { ...options, clientId, ...loginOf(url, user) }), onLost),
    close: () => subscriber.endAsync(true),
  }
}

function openDevice(device: MqttClient, onLost: () => void): DeviceConnection {
  let pending = 0
  let isClosing = false
  const destroy = (): void => {
    isClosing = true
    device.end(true)
  }
  device.on('error', () => {})
  device.once('close', () => {
    if (isClosing) return
    destroy()
    onLost()
  })
  return {
    publish: ({ topic, payload, qos, retain, isRedelivered: dup }) => {
      if (pending >= MAX_PENDING_MESSAGES) return false
      pending++
      device.publish(topic, payload, { qos, retain, dup }, () => {
        pending--
        if (isClosing && pending === 0) destroy()
      })
      return true
    },
    close: () => {
      isClosing = true
      if (pending === 0) destroy()
      else setTimeout(destroy, CLOSE_MS).unref()
    },
    destroy,
  }
}
