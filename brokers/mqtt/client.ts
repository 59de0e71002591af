/** What a PUBLISH says of itself; MQTT.js makes such objects of those it receives. */
export interface PublishPacket {
  readonly cmd?: string | undefined
  readonly topic: string
  payload: string | Buffer
  readonly qos?: 0 | 1 | 2 | undefined
  readonly retain?: boolean | undefined
  readonly dup?: boolean | undefined
  readonly messageId?: number | undefined
  readonly properties?:
    | {
        /** Without a prototype; a name that came several times has a list. */
        readonly userProperties?: Readonly<Record<string, string | string[]>> | undefined
      }
    | undefined
}

export type Done = (error?: Error) => void

/** Answers for an acknowledgement: an error, or a reason code. */
export type AnswerAck = (error: Error | number | null, code?: number) => void

/** MQTT.js asks this before it acknowledges QoS 1 (PUBACK) or 2 (PUBREC), on MQTT 5 only. */
export type HandleAcks = (topic: string, payload: Buffer, packet: PublishPacket, answer: AnswerAck) => void

/** The options of a client that matter here. MQTT.js looks at all of them anew each time. */
export interface ClientOptions {
  protocolVersion?: number | undefined
  clean?: boolean | undefined
  /** Seconds. */
  keepalive?: number | undefined
  /** Milliseconds; 0 means that it does not reconnect. */
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

/** What is used of an MQTT.js 5 client, be it a consumer or a publisher. Nothing here imports the package. */
export interface MqttClient {
  readonly connected: boolean
  readonly options: object
  /** What the broker said of itself in its CONNACK; MQTT 5. */
  readonly serverProperties?:
    | { readonly receiveMaximum?: number | undefined; readonly maximumPacketSize?: number | undefined }
    | undefined
  /** Its `end` was called. */
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

/** An MQTT.js 5 client that receives. */
export interface ReceivingClient extends MqttClient {
  handleMessage(packet: PublishPacket, done: Done): void
  readonly incomingStore: {
    get(packet: { messageId?: number }, done: (error?: Error) => void): unknown
    del(packet: { messageId?: number }, done: (error?: Error) => void): unknown
  }
  /** The socket, or what stands for it. */
  readonly stream?: unknown
  sendPing(): void
  reschedulePing(force?: boolean): void
}

/** A stream of Node that can hold back what is written. */
export interface Corkable {
  cork?(): void
  uncork?(): void
}

/** The client's options, which its type does not tell. */
export function optionsOf(client: MqttClient): ClientOptions {
  return client.options as ClientOptions
}
