import { policyError } from '../../src/core/errors.ts'
import type { Sender } from '../../src/core/message.ts'
import { checkOptionNames, type OptionNames } from '../../src/core/option-names.ts'
import type { Gate } from '../../src/index.ts'
import { BackOff, type BackOffOptions } from '../../src/publish/back-off.ts'
import { createPublisher, type PublishLimits } from '../../src/publish/create-publisher.ts'
import { PUBLISHER_OPTIONS, type PublisherOptions, type PublishRate } from '../../src/publish/options.ts'
import { OutgoingMessage } from '../../src/publish/outgoing.ts'
import { parseQueueParams, type QueueParams } from '../../src/publish/queue-options.ts'
import type { Published } from '../../src/publish/types.ts'
import { findPublishProblem, findSizeProblem } from './check-publish.ts'
import { type MqttClient, optionsOf, type PublishOptions } from './client.ts'
import { MqttTransport } from './transport.ts'

/** How `limitPublishes` behaves; see also {@link PublisherOptions}. */
export interface MqttPublisherOptions extends PublisherOptions {
  /** Most messages of QoS 0 that are written and not yet out. Default: 64. */
  readonly window?: number | undefined
  /**
   * Most messages of QoS 1 and 2 under way, never more than the broker's Receive Maximum. Default: 64, on MQTT 3.1.1,
   * where a broker cannot tell, 20.
   */
  readonly maxInFlight?: number | undefined
  /**
   * Waits between attempts to reconnect, set as the client's `reconnectPeriod`; `false` leaves it alone, as does a client
   * that does not reconnect. Default: from 1 s to 60 s.
   */
  readonly backOff?: BackOffOptions | false | undefined
}

const OPTIONS: OptionNames<MqttPublisherOptions> = {
  ...PUBLISHER_OPTIONS,
  window: true,
  maxInFlight: true,
  backOff: true,
}

/** Publishes at a rate. */
export interface MqttPublisher extends PublishLimits {
  /** Publishes when it may go. Never throws or rejects: what cannot be sent, or has no valid priority, has `failed`. */
  publish(
    topic: string,
    payload: string | Uint8Array,
    options?: PublishOptions & QueueParams,
  ): Promise<Published>
}

/** Of DISCONNECT: message rate too high, quota exceeded. */
const SLOW_DOWN: ReadonlySet<number | undefined> = new Set([0x96, 0x97])

/**
 * Limits what an MQTT.js 5 client publishes, by a gate's rules `on: publish` or a simple rate. What may not go yet waits
 * here, in a bounded queue, also while there is no connection: the client's own would flush past any limit. Never more is
 * under way than the broker's Receive Maximum. What the broker refuses with 0x97 is sent again, more slowly.
 *
 * `throttle`, `queue`, `latest` and `retry` wait; `drop` and `reject` do not. Throws UnsupportedError for rules that
 * redirect or disconnect, PolicyError for an option that cannot be meant.
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
  const known: Sender = clientId ? { client: clientId } : {}
  const transport = new MqttTransport(client, options)
  const parts = createPublisher(limits, 'mqtt', options, known, transport)
  transport.gate = parts.gate
  const { publisher, sender } = parts
  const detach = follow()
  const leaveReconnects = backOff === undefined ? () => {} : spreadReconnects(client, backOff)

  function clientEnded(): void {
    transport.ended(true)
    publisher.clientEnded()
  }

  /** Tells the publisher when it may go on. */
  function follow(): () => void {
    const listeners = {
      connect: () => {
        transport.connected()
        publisher.pump()
      },
      close: () => {
        transport.disconnected()
        // A client that waits for its last acknowledgements when its connection goes never ends.
        if (client.disconnecting) clientEnded()
        else if (!optionsOf(client).reconnectPeriod)
          transport.failAll(new Error('the connection closed before the message was acknowledged'))
        publisher.disconnected()
      },
      end: clientEnded,
      reconnect: () => transport.ended(false),
      disconnect: (packet: { readonly reasonCode?: number }) => {
        if (SLOW_DOWN.has(packet.reasonCode)) publisher.slowDown()
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
      const wanted = parseQueueParams({ priority, latest, signal })
      if (wanted instanceof Error) return publisher.refuse(wanted)
      const { qos = 0, retain = false, properties } = sent
      const flaw = findPublishProblem(topic, payload, sent)
      if (flaw !== undefined) return publisher.refuse(flaw)
      const headers = properties?.userProperties as Readonly<Record<string, string>> | undefined
      const message = new OutgoingMessage({
        ...{ protocol: 'mqtt' as const, topic, sender, body: payload, qos, retain },
        ...(headers && { headers }),
      })
      const tooLarge = findSizeProblem(message, properties, client.serverProperties?.maximumPacketSize)
      return tooLarge === undefined ? publisher.publish(message, sent, wanted) : publisher.refuse(tooLarge)
    },
    flush: withinMs => publisher.flush(withinMs),
    stats: () => publisher.stats(),
    close: () => {
      leaveReconnects()
      parts.close()
      publisher.whenIdle(detach)
    },
  }
}

/** MQTT.js tries again after the same time each time; it looks at its option anew whenever a connection has closed. */
function spreadReconnects(client: MqttClient, backOff: BackOff): () => void {
  const options = optionsOf(client)
  const given = options.reconnectPeriod
  if (!given) return () => {}
  const next = (): void => {
    options.reconnectPeriod = backOff.nextMs()
  }
  const begin = (): void => {
    backOff.reset()
    next()
  }
  begin()
  client.on('connect', begin)
  client.on('reconnect', next)
  return () => {
    client.removeListener('connect', begin)
    client.removeListener('reconnect', next)
    options.reconnectPeriod = given
  }
}
