import type { Duplex } from 'node:stream'
import type { Aedes, Client, Subscription } from 'aedes'
import { UnsupportedError } from '../../src/core/errors.ts'
import type { PacketLike } from './message.ts'

/**
 * Members of a broker of aedes 1 that its types omit. Here and below each may be absent, for example with another
 * emitter or persistence, and what needs it then does nothing.
 */
export interface BrokerInternals {
  readonly version?: unknown
  /** Connected clients by id. */
  readonly clients?: Readonly<Record<string, Client>> | undefined
  readonly persistence?: Persistence | undefined
  readonly mq?: Emitter | undefined
  /** Number of the last message. */
  readonly counter?: number | undefined
  /** Maximum topic depth: a deeper publish costs the client its connection. */
  readonly maxTopicLevels?: number | undefined
  readonly opts?: { readonly drainTimeout?: unknown } | undefined
  /** Accepts a connection. Of its request only these fields are read. */
  handle(stream: Duplex, request?: ProxiedRequest): Client
  publish?: Publish | undefined
}

/** Request of a connection whose address a proxy has named. */
export interface ProxiedRequest {
  readonly connDetails: { readonly ipAddress: string }
  readonly headers: object
  readonly socket: Duplex
}

/** `publish` as aedes itself calls it. The publisher may be left out. */
export type Publish = (packet: object, client: unknown, done?: unknown) => void

/** Called when aedes has published a message, or could not. */
export type Published = (error?: Error | null) => void

/** Storage of sessions, retained messages and messages of QoS 2 that were received but not released. */
export interface Persistence {
  addSubscriptions?(client: Client, subscriptions: readonly Subscription[]): Promise<unknown>
  removeSubscriptions?(client: Client, topics: readonly string[]): Promise<unknown>
  createRetainedStream?(pattern: string): AsyncIterable<PacketLike>
  incomingGetPacket?(client: Client, packet: object): Promise<unknown>
  incomingDelPacket?(client: Client, packet: object): Promise<unknown>
  outgoingStream?(client: Client): AsyncIterable<AedesDelivery>
  outgoingUpdate?(client: Client, packet: object): Promise<unknown>
  outgoingClearMessageId?(client: Client, packet: object): Promise<unknown>
}

/** mqemitter, which delivers messages to subscribers. */
export interface Emitter {
  /** Messages on their way to subscribers. */
  current?: number | undefined
  _do?(message: unknown, callback: unknown): unknown
  emit?(message: AedesDelivery, done: unknown): void
}

/** A delivery in progress. */
export interface AedesDelivery extends PacketLike {
  readonly cmd?: string | undefined
  readonly clientId?: string | undefined
  readonly nl?: boolean | undefined
  readonly messageId?: number | undefined
  brokerId?: string | null | undefined
  readonly brokerCounter?: number | undefined
}

export type DeliveryDone = (error?: Error | null) => void

/** Delivers a packet to a client. */
export type Deliver = (packet: AedesDelivery, done: DeliveryDone) => void

/** Members of a client. */
export interface ClientInternals {
  readonly will?: object | null | undefined
  /** True after a DISCONNECT: the client has no will any more. */
  readonly _disconnected?: boolean | undefined
  readonly _keepaliveTimer?: { refresh?(): void } | null | undefined
  readonly _keepaliveInterval?: number | undefined
  readonly _parser?: MqttPacketParser | undefined
  readonly subscriptions?: Readonly<Record<string, { readonly qos: 0 | 1 | 2 }>> | undefined
  /** Address from a PROXY header or, behind a trusted proxy, from the request. */
  readonly connDetails?: { readonly ipAddress?: unknown } | null | undefined
  readonly duplicates?: Record<string, number> | undefined
  _nextId?: number | undefined
  deliver0?: Deliver | undefined
  deliverQoS?: Deliver | undefined
  waitForDrain?(done: DeliveryDone): void
}

/** Parser of a client (mqtt-packet). */
export interface MqttPacketParser {
  readonly error?: unknown
  readonly packet?:
    | {
        readonly length?: number | undefined
        readonly cmd?: string | undefined
        readonly subscriptions?: readonly unknown[] | undefined
        readonly unsubscriptions?: readonly unknown[] | undefined
      }
    | null
    | undefined
  readonly _stateCounter?: number | undefined
  readonly _list?: { readonly length?: number | undefined } | undefined
  parse?(bytes: Buffer): unknown
  _parseLength?(): boolean
  _parseSubscribe?(): unknown
  _parseUnsubscribe?(): unknown
  _emitError?(error: Error): unknown
}

export function brokerInternals(broker: Aedes): BrokerInternals {
  return broker as Aedes & BrokerInternals
}

export function aedesClientInternals(client: Client): ClientInternals {
  return client as Client & ClientInternals
}

/** Throws UnsupportedError for an aedes whose hooks differ from those of version 1.1. */
export function assertVersion(broker: Aedes): void {
  const { version } = brokerInternals(broker)
  const [major, minor] = String(version).split('.').map(Number)
  if (major === undefined || minor === undefined || major > 1 || (major === 1 && minor >= 1)) return
  // A broker that does not say its version is taken as it is.
  if (Number.isNaN(major) || Number.isNaN(minor)) return
  throw new UnsupportedError(
    `limitBroker needs aedes 1.1 or newer, and this broker is aedes ${String(version)} (npm install aedes@1)`,
  )
}
