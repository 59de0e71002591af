/** PUBLISH packet as MQTT.js creates it. */
export interface MqttJsPublishPacket {
  readonly cmd?: string | undefined
  readonly topic: string
  payload: string | Buffer
  readonly qos?: 0 | 1 | 2 | undefined
  readonly retain?: boolean | undefined
  readonly dup?: boolean | undefined
  readonly messageId?: number | undefined
  readonly properties?:
    | {
        /** Has no prototype. A name that occurs several times has a list. */
        readonly userProperties?: Readonly<Record<string, string | string[]>> | undefined
      }
    | undefined
}

export type DoneCallback = (error?: Error) => void

/** Callback for an acknowledgement: an error, or a reason code. */
export type AckCallback = (error: Error | number | null, code?: number) => void

/** Hook that MQTT.js calls before it acknowledges QoS 1 (PUBACK) or 2 (PUBREC), on MQTT 5 only. */
export type CustomHandleAcks = (
  topic: string,
  payload: Buffer,
  packet: MqttJsPublishPacket,
  answer: AckCallback,
) => void

/** Options of a client that topicgate uses. MQTT.js reads them again each time. */
export interface MqttJsClientOptions {
  protocolVersion?: number | undefined
  clean?: boolean | undefined
  /** Seconds. */
  keepalive?: number | undefined
  /** Milliseconds. 0 disables reconnecting. */
  reconnectPeriod?: number | undefined
  customHandleAcks?: unknown
  readonly properties?: { readonly topicAliasMaximum?: number } | undefined
}

export interface PublishOptions {
  readonly qos?: 0 | 1 | 2 | undefined
  readonly retain?: boolean | undefined
  readonly dup?: boolean | undefined
  readonly properties?: Readonly<Record<string, unknown>> | undefined
}

/** Part of an MQTT.js 5 client that topicgate uses, for consumers and publishers. Nothing here imports the package. */
export interface MqttClient {
  readonly connected: boolean
  readonly options: object
  /** Properties of the broker's CONNACK (MQTT 5). */
  readonly serverProperties?:
    | { readonly receiveMaximum?: number | undefined; readonly maximumPacketSize?: number | undefined }
    | undefined
  /** True after `end` was called. */
  readonly disconnecting?: boolean | undefined
  /** Seconds, as agreed with the broker. */
  readonly keepalive?: number | undefined
  publish(
    topic: string,
    payload: string | Buffer,
    options: PublishOptions,
    done: (error?: Error | null) => void,
  ): unknown
  on(event: string, listener: (...args: never[]) => void): unknown
  removeListener(event: string, listener: (...args: never[]) => void): unknown
  listenerCount(event: string): number
}

/** MQTT.js 5 client that receives. */
export interface ReceivingClient extends MqttClient {
  handleMessage(packet: MqttJsPublishPacket, done: DoneCallback): void
  readonly incomingStore: {
    get(packet: { messageId?: number }, done: (error?: Error) => void): unknown
    del(packet: { messageId?: number }, done: (error?: Error) => void): unknown
  }
  /** Socket, or a stream in its place. */
  readonly stream?: unknown
  sendPing(): void
  reschedulePing(force?: boolean): void
}

/** Node.js stream that can hold back writes. */
export interface Corkable {
  cork?(): void
  uncork?(): void
}

/** Returns the client's options. Its own type does not include them. */
export function clientOptionsOf(client: MqttClient): MqttJsClientOptions {
  return client.options as MqttJsClientOptions
}
