import type { Sender } from '../../core/message.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'

/** A message as a device sends it. */
export interface DeviceMessage {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  /** True if it was sent over an earlier connection, too. */
  readonly isRedelivered: boolean
}

/** Maximum messages of a connection that are neither written nor, with QoS 1 and 2, acknowledged. */
export const MAX_PENDING_MESSAGES = 2_000

/** Connection of a device. A message sent before it is there waits; one of a connection that fails is lost. */
export interface DeviceConnection {
  /** Returns false, and sends nothing, if too many messages wait: the broker slows the device down. */
  publish(message: DeviceMessage): boolean
  /** Disconnects after the messages so far. */
  close(): void
  /** Disconnects at once. */
  destroy(): void
}

/** A device that connects. */
export interface ConnectingDevice {
  readonly sender: Sender
  /** Time for which it sends the bytes of its CONNECT; it then sends nothing else. Undefined: it sends them at once. */
  readonly slowMs: number | undefined
  /** Called once if the connection fails, is refused or is closed by the broker. */
  readonly onLost: () => void
}

/** A broker, with a subscriber that sees what it delivers. */
export interface FleetBroker {
  connect(device: ConnectingDevice): DeviceConnection
  /** Closes the subscriber. */
  close(): Promise<void>
}

/** Connects the subscriber. Rejects with CommandError if the broker is not available. */
export type OpenBroker = (
  url: URL,
  filters: readonly string[],
  onDelivery: (payload: Uint8Array) => void,
) => Promise<FleetBroker>

/** Parses the address of a broker. Throws CommandError. */
export function parseBrokerUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url !== undefined && url.hostname !== '' && /^(?:mqtts?|nats):$/.test(url.protocol)) return url
  throw new CommandError(
    `--broker is not the address of a broker (write mqtt://host:1883, mqtts://host:8883 or nats://host:4222)`,
    EXIT.usage,
  )
}

/** Returns the login of an address, of which the user may be replaced. */
export function loginOf(url: URL, user?: string): { readonly username?: string; readonly password?: string } {
  const username = user ?? decodeURIComponent(url.username)
  return username === '' ? {} : { username, password: decodeURIComponent(url.password) }
}

export function unavailableError(url: URL, cause: unknown): CommandError {
  const { message, code } = cause as NodeJS.ErrnoException
  const reason = message || code || 'no answer'
  return new CommandError(`${url.protocol}//${url.host} cannot be used: ${reason}`, EXIT.unavailable, {
    cause,
  })
}
