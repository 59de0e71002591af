import type { Aedes, Client } from 'aedes'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import { ThrottledLog } from '../../src/core/throttled-log.ts'
import { aedesClientInternals, brokerInternals, type MqttPacketParser } from './aedes-internals.ts'
import type { BrokerContext } from './broker-context.ts'
import { readClientIp } from './connection-sender.ts'

/** Maximum sizes of packets whose cost grows with the number of their filters. */
const FILTER_PACKET_BYTES: ReadonlyMap<string | undefined, number> = new Map([
  ['subscribe', MAX_SIZES.subscribeBytes],
  ['unsubscribe', MAX_SIZES.subscribeBytes],
])

/** Returns the bytes of a whole packet: first byte, remaining length of 1 to 4 bytes, and the rest [MQTT-2.2.3]. */
export function packetSizeBytes(remainingLength: number): number {
  if (remainingLength < 128) return remainingLength + 2
  if (remainingLength < 16_384) return remainingLength + 3
  return remainingLength + (remainingLength < 2_097_152 ? 4 : 5)
}

/**
 * Closes a connection as soon as the length of a packet shows that it is too large, before its payload is buffered;
 * aedes itself allows 256 MB. CONNECT, SUBSCRIBE and UNSUBSCRIBE have smaller limits. The latter two also have a limit
 * of filters, as each costs aedes some 15 µs.
 */
class PacketSizeLimit {
  readonly #context: BrokerContext
  readonly #watched = new WeakSet<object>()
  readonly #refusalLog: ThrottledLog
  #isAttached = true

  constructor(context: BrokerContext) {
    this.#context = context
    this.#refusalLog = new ThrottledLog(context.guard.clock, context.logger)
  }

  /** Checks the packets of a client from now on. */
  watch(client: Client): void {
    const { _parser: parser } = aedesClientInternals(client)
    const parseLength = parser?._parseLength
    if (parser === undefined || typeof parseLength !== 'function' || this.#watched.has(parser)) return
    this.#watched.add(parser)
    parser._parseLength = () => parseLength.call(parser) && this.#accepts(client, parser)
    for (const name of ['_parseSubscribe', '_parseUnsubscribe'] as const) {
      const parse = parser[name]
      if (typeof parse !== 'function') continue
      parser[name] = () => {
        const result = parse.call(parser)
        if (!parser.error) this.#checkFilters(client, parser)
        return result
      }
    }
  }

  detach(): void {
    this.#isAttached = false
  }

  #accepts(client: Client, parser: MqttPacketParser): boolean {
    const { maxPacketBytes } = this.#context.settings
    const bytes = packetSizeBytes(parser.packet?.length ?? 0)
    // Before the CONNECT is being processed, a packet is either a CONNECT or not MQTT.
    const isConnected = client.connected || client.connecting
    const cmd = parser.packet?.cmd
    const ownBytes = isConnected ? FILTER_PACKET_BYTES.get(cmd) : MAX_SIZES.connectBytes
    const limitBytes = Math.min(maxPacketBytes, ownBytes ?? maxPacketBytes)
    if (bytes <= limitBytes || !this.#isAttached) return true
    const option =
      limitBytes === maxPacketBytes
        ? `maxPacketBytes is ${limitBytes}`
        : `a ${isConnected ? cmd?.toUpperCase() : 'CONNECT'} may have ${limitBytes}, whatever maxPacketBytes is`
    this.#refuse(client, parser, `packet of ${bytes} bytes`, option, { bytes, limitBytes })
    return false
  }

  #checkFilters(client: Client, parser: MqttPacketParser): void {
    const { maxFiltersPerPacket } = this.#context.settings
    const filters = (parser.packet?.subscriptions ?? parser.packet?.unsubscriptions ?? []).length
    if (filters <= maxFiltersPerPacket || !this.#isAttached) return
    const option = `maxFiltersPerPacket is ${maxFiltersPerPacket}`
    this.#refuse(client, parser, `packet of ${filters} filters`, option, { filters })
  }

  #refuse(client: Client, parser: MqttPacketParser, what: string, option: string, numbers: object): void {
    const { counters, settings } = this.#context
    counters.oversized++
    const context = {
      client: client.id ?? undefined,
      ip: readClientIp(client, settings.trust),
      packet: parser.packet?.cmd,
      ...numbers,
    }
    this.#refusalLog.log(context, `${what} refused, connection closed: ${option}`)
    const error = new Error(`${what} refused: ${option}`)
    if (typeof parser._emitError === 'function') parser._emitError(error)
    else client.conn.destroy(error)
  }
}

/**
 * Limits the packets of all connections: from the first byte if `broker.handle` is called after the limiter is
 * attached, otherwise from the CONNECT on. Returns a function that detaches it.
 */
export function limitPacketSizes(context: BrokerContext): () => void {
  const { broker, connectListeners } = context
  const sizes = new PacketSizeLimit(context)
  const watch = (client: Client): void => sizes.watch(client)
  const originalHandle = broker.handle
  const handle: Aedes['handle'] = (stream, request) => {
    const client = originalHandle.call(broker, stream, request)
    watch(client)
    return client
  }
  broker.handle = handle
  connectListeners.add(watch)
  for (const client of Object.values(brokerInternals(broker).clients ?? {})) watch(client)
  return () => {
    sizes.detach()
    connectListeners.delete(watch)
    if (broker.handle === handle) broker.handle = originalHandle
  }
}
