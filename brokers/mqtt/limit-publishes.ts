import { BackOff, type BackOffOptions } from '../../src/core/back-off.ts'
import { policyError } from '../../src/core/errors.ts'
import type { Sender } from '../../src/core/message.ts'
import { checkOptionNames, type KnownOptions } from '../../src/core/option-names.ts'
import type { Gate } from '../../src/gate/gate.ts'
import { createPublisher, type PublisherControls } from '../../src/publish/create-publisher.ts'
import { PUBLISHER_OPTIONS, type PublisherOptions, type PublishRate } from '../../src/publish/options.ts'
import { OutgoingMessage } from '../../src/publish/outgoing-message.ts'
import {
  parsePublishQueueOptions,
  type QueuedPublishOptions,
} from '../../src/publish/per-message-publish-options.ts'
import type { Published } from '../../src/publish/types.ts'
import { clientOptionsOf, type MqttClient, type PublishOptions } from './client-types.ts'
import { MqttPublishTransport } from './publish-transport.ts'
import { findPublishProblem, findSizeProblem } from './validate-publish.ts'

/** Options of `limitPublishes`; see also {@link PublisherOptions}. */
export interface MqttPublisherOptions extends PublisherOptions {
  /** Most messages of QoS 0 that are written but not sent. Default: 64. */
  readonly window?: number | undefined
  /**
   * Most messages of QoS 1 and 2 in flight, at most the broker's Receive Maximum. Default: 64; on MQTT 3.1.1, which has
   * no Receive Maximum, 20.
   */
  readonly maxInFlight?: number | undefined
  /**
   * Waits between attempts to reconnect, set as the client's `reconnectPeriod`. `false` leaves it unchanged, as does a
   * client that does not reconnect. Default: from 1 s to 60 s.
   */
  readonly backOff?: BackOffOptions | false | undefined
}

const OPTIONS: KnownOptions<MqttPublisherOptions> = {
  ...PUBLISHER_OPTIONS,
  window: true,
  maxInFlight: true,
  backOff: true,
}

/** Publisher that keeps to the limits. */
export interface MqttPublisher extends PublisherControls {
  /** Publishes a message when the limits allow it. Never throws or rejects: an invalid message or option is `failed`. */
  publish(
    topic: string,
    payload: string | Uint8Array,
    options?: PublishOptions & QueuedPublishOptions,
  ): Promise<Published>
}

/** Reason codes of DISCONNECT: message rate too high, quota exceeded. */
const SLOW_DOWN_CODES: ReadonlySet<number | undefined> = new Set([0x96, 0x97])

/**
 * Limits the messages that an MQTT.js 5 client publishes, by the rules of a gate with `on: publish` or by a simple rate.
 * Other messages wait in a bounded queue, also while there is no connection, because the client's own queue would be sent
 * past any limit. Keeps to the broker's Receive Maximum. Messages that the broker refuses with 0x97 are sent again, more
 * slowly.
 *
 * `throttle`, `queue`, `latest` and `retry` wait; `drop` and `reject` do not. Throws UnsupportedError for rules that
 * redirect or disconnect, and PolicyError for an invalid option.
 */
export function limitPublishes(
  client: MqttClient,
  limits: Gate | PublishRate,
  options: MqttPublisherOptions = {},
): MqttPublisher {
  checkOptionNames(options, OPTIONS)
  for (const name of ['window', 'maxInFlight'] as const) {
    const value = options[name] ?? 1
    if (!(Number.isSafeInteger(value) && value >= 1))
      throw policyError(name, `${value} is not a whole number from 1`, `leave ${name} out for its default`)
  }
  const backOff = options.backOff === false ? undefined : new BackOff(options.backOff)
  const { clientId } = client.options as { clientId?: string }
  const clientSender: Sender = clientId ? { client: clientId } : {}
  const transport = new MqttPublishTransport(client, options)
  const parts = createPublisher(limits, 'mqtt', options, clientSender, transport)
  transport.gate = parts.gate
  const { publisher, sender } = parts
  const detach = listen()
  const restoreReconnects = backOff === undefined ? () => {} : randomizeReconnects(client, backOff)

  function clientEnded(): void {
    transport.setEnded(true)
    publisher.clientEnded()
  }

  /** Reports changes of the connection to the publisher. */
  function listen(): () => void {
    const listeners = {
      connect: () => {
        transport.setConnected()
        publisher.pump()
      },
      close: () => {
        transport.setDisconnected()
        // A client that loses its connection while it waits for its last acknowledgements never ends.
        if (client.disconnecting) clientEnded()
        else if (!clientOptionsOf(client).reconnectPeriod)
          transport.failAll(new Error('the connection closed before the message was acknowledged'))
        publisher.disconnected()
      },
      end: clientEnded,
      reconnect: () => transport.setEnded(false),
      disconnect: (packet: { readonly reasonCode?: number }) => {
        if (SLOW_DOWN_CODES.has(packet.reasonCode)) publisher.slowDown()
      },
    }
    for (const [event, listener] of Object.entries(listeners)) client.on(event, listener)
    return () => {
      for (const [event, listener] of Object.entries(listeners)) client.removeListener(event, listener)
    }
  }

  return {
    async [Symbol.asyncDispose]() {
      this.close()
    },
    publish: (topic, payload, options) => {
      const { priority, latest, signal, ...sent } = options ?? {}
      const placement = parsePublishQueueOptions({ priority, latest, signal })
      if (placement instanceof Error) return publisher.refuse(placement)
      const { qos = 0, retain = false, properties } = sent
      const problem = findPublishProblem(topic, payload, sent)
      if (problem !== undefined) return publisher.refuse(problem)
      const headers = properties?.userProperties as Readonly<Record<string, string>> | undefined
      const message = new OutgoingMessage({
        protocol: 'mqtt',
        topic,
        sender,
        body: payload,
        qos,
        retain,
        headers,
      })
      const tooLarge = findSizeProblem(message, properties, client.serverProperties?.maximumPacketSize)
      return tooLarge === undefined ? publisher.publish(message, sent, placement) : publisher.refuse(tooLarge)
    },
    flush: withinMs => publisher.flush(withinMs),
    stats: () => publisher.stats(),
    close: () => {
      restoreReconnects()
      parts.close()
      publisher.whenIdle(detach)
    },
  }
}

/** Sets random reconnect periods. MQTT.js itself waits the same time before each attempt, and reads its option each time. */
function randomizeReconnects(client: MqttClient, backOff: BackOff): () => void {
  const options = clientOptionsOf(client)
  const original = options.reconnectPeriod
  if (!original) return () => {}
  const next = (): void => {
    options.reconnectPeriod = backOff.nextMs()
  }
  const restart = (): void => {
    backOff.reset()
    next()
  }
  restart()
  client.on('connect', restart)
  client.on('reconnect', next)
  return () => {
    client.removeListener('connect', restart)
    client.removeListener('reconnect', next)
    options.reconnectPeriod = original
  }
}
