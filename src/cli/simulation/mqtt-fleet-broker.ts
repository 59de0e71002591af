import type { IClientOptions, MqttClient } from 'mqtt'
import { PACKET } from '../../../brokers/mqtt-gateway/packet-types.ts'
import { encodePacket, encodeText } from '../../../brokers/mqtt-gateway/write-packets.ts'
import { subscribeMqtt } from '../capture/subscribe-mqtt.ts'
import { CommandError } from '../terminal/command-error.ts'
import { requirePackages } from '../terminal/required-packages.ts'
import {
  type DeviceConnection,
  type FleetBroker,
  loginOf,
  MAX_PENDING_MESSAGES,
  unavailableError,
} from './fleet-broker.ts'
import { openSlowly } from './slow-connection.ts'

const CONNECT_MS = 10_000
/** Time after which a subscriber that has lost its connection connects again. */
const RECONNECT_MS = 100
/** Maximum wait of a device that leaves for its last messages. */
const CLOSE_MS = 5_000

/** Opens an MQTT broker for a fleet. Its devices do not reconnect: a lost connection is part of what is measured. */
export async function openMqttBroker(
  url: URL,
  filters: readonly string[],
  onDelivery: (payload: Uint8Array) => void,
): Promise<FleetBroker> {
  requirePackages('simulate --broker mqtt://…')
  const { connect, connectAsync } = await import('mqtt')
  const address = `${url.protocol}//${url.host}`
  const options: IClientOptions = { reconnectPeriod: 0, connectTimeout: CONNECT_MS, resubscribe: false }
  const subscriber: MqttClient = await connectAsync(
    address,
    { reconnectPeriod: RECONNECT_MS, connectTimeout: CONNECT_MS, ...loginOf(url) },
    false,
  ).catch((cause: unknown) => {
    throw unavailableError(url, cause)
  })
  subscriber.on('error', () => {})
  subscriber.on('message', (_topic, payload) => onDelivery(payload))
  try {
    await subscribeMqtt(subscriber, filters, 1)
  } catch (cause) {
    await subscriber.endAsync(true)
    throw cause instanceof CommandError ? cause : unavailableError(url, cause)
  }
  return {
    connect: ({ sender: { client: clientId, user }, slowMs, onLost }) => {
      const login = loginOf(url, user)
      if (slowMs === undefined)
        return openDevice(connect(address, { ...options, clientId, ...login }), onLost)
      const isTls = url.protocol === 'mqtts:'
      const port = Number(url.port) || (isTls ? 8883 : 1883)
      const server = { host: url.hostname, port, isTls }
      return openSlowly(server, { bytes: encodeConnect({ clientId, ...login }), slowMs, onLost })
    },
    close: () => subscriber.endAsync(true),
  }
}

interface ConnectFields {
  readonly clientId: string | undefined
  readonly username?: string
  readonly password?: string
}

/** Returns a CONNECT of MQTT 3.1.1 with a clean session and no keepalive. */
function encodeConnect({ clientId = '', username, password }: ConnectFields): Buffer {
  const fields = [clientId, username, password].filter(field => field !== undefined)
  const flags = username === undefined ? 0x02 : 0xc2
  const header = Buffer.from([4, flags, 0, 0])
  return encodePacket(PACKET.connect << 4, encodeText('MQTT'), header, ...fields.map(encodeText))
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
