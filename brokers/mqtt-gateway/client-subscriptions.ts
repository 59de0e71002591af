import type { Decision } from '../../src/core/decision.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Sender } from '../../src/core/message.ts'
import { PASS, type PacketVerdict, SKIP, STOP } from '../../src/gateway/packet-walker.ts'
import { SubscribeMessage } from '../../src/gateway/subscribe-message.ts'
import type { SenderQueue } from '../../src/guard/guard.ts'
import type { ConnectionState } from './connection-state.ts'
import { PACKET, type Qos, REASON } from './packet-types.ts'
import { endOfText, readProperties } from './properties.ts'
import { encodePacket, encodeSuback } from './write-packets.ts'

/** Code of a refused filter before MQTT 5. */
const FAILURE = 0x80

const SHARED = '$share/'

/** Place of a filter with its options in a SUBSCRIBE. */
interface FilterField {
  readonly start: number
  readonly end: number
  readonly filter: string
  readonly qos: Qos
}

/** A filter of a SUBSCRIBE. */
class FilterMessage extends SubscribeMessage {
  readonly qos: Qos
  readonly request: SubscribeRequest
  readonly index: number

  constructor(sender: Sender, { filter, qos }: FilterField, request: SubscribeRequest, index: number) {
    super(filter, sender)
    this.qos = qos
    this.request = request
    this.index = index
  }

  get protocol(): 'mqtt' {
    return 'mqtt'
  }
}

/** A SUBSCRIBE in progress. */
interface SubscribeRequest {
  /** The packet; a part of the received chunk until it waits. */
  packet: Buffer
  readonly id: number
  /** Place of the first filter behind the packet's start. */
  readonly filtersStart: number
  readonly bodyStart: number
  readonly filters: readonly FilterField[]
  readonly refusals: (Decision | undefined)[]
  undecided: number
  isPassed: boolean
}

/** Subscriptions of one client, decided filter by filter. */
export class ClientSubscriptions {
  readonly #connection: ConnectionState
  readonly #queue: SenderQueue
  /** Codes of refused filters by the packet id of their SUBSCRIBE; undefined for filters that the broker decides. */
  readonly #refusedCodes = new Map<number, readonly (number | undefined)[]>()

  constructor(connection: ConnectionState, queue: SenderQueue) {
    this.#connection = connection
    this.#queue = queue
  }

  decideSubscribe(bytes: Buffer, start: number, body: number, end: number): PacketVerdict {
    const connection = this.#connection
    if (end - start > MAX_SIZES.subscribeBytes) {
      connection.onProblem('too large')
      return STOP
    }
    if (bytes.length < end) return end - start
    const request = readSubscribe(bytes.subarray(start, end), body - start, connection.isV5)
    if (request === undefined) {
      connection.onProblem('malformed')
      return STOP
    }
    let isAtOnce = true
    const enact = (decision: Decision, { index }: FilterMessage): void => {
      request.refusals[index] = decision.allowed ? undefined : decision
      if (--request.undecided === 0) this.#finish(request, isAtOnce)
    }
    for (const [index, filter] of request.filters.entries()) {
      if (connection.isClosing) return STOP
      this.#queue.admit(new FilterMessage(connection.sender, filter, request, index), enact)
    }
    isAtOnce = false
    if (request.isPassed) return PASS
    if (request.undecided > 0) request.packet = Buffer.from(request.packet)
    return SKIP
  }

  /** Adds the codes of refused filters to a SUBACK. Returns undefined if it can pass as it came. */
  completeSuback(bytes: Buffer, start: number, body: number, end: number): Buffer | undefined {
    if (this.#refusedCodes.size === 0 || body + 2 > end) return undefined
    const id = bytes.readUInt16BE(body)
    const codes = this.#refusedCodes.get(id)
    if (codes === undefined) return undefined
    this.#refusedCodes.delete(id)
    const list = this.#connection.isV5 ? readProperties(bytes, body + 2, end) : undefined
    let at = list?.end ?? body + 2
    const head = bytes.subarray(body, at)
    const completed = codes.map(code => code ?? bytes[at++] ?? FAILURE)
    this.#connection.context.countRewrite(PACKET.suback)
    return encodePacket(bytes[start]!, head, Buffer.from(completed))
  }

  get hasRefusedFilters(): boolean {
    return this.#refusedCodes.size > 0
  }

  #finish(request: SubscribeRequest, isAtOnce: boolean): void {
    const connection = this.#connection
    const { context } = connection
    if (connection.isClosing) return
    const { packet, id, filters, refusals } = request
    const refused = refusals.filter(refusal => refusal !== undefined)
    for (const [index, refusal] of refusals.entries()) {
      if (refusal === undefined) continue
      const message = new FilterMessage(connection.sender, filters[index]!, request, index)
      context.refusals.recordRefusal(message, refusal)
      context.counters.subscriptionsRefused++
    }
    const disconnecting = refused.find(({ outcome }) => outcome === 'disconnect')
    if (disconnecting !== undefined) {
      connection.disconnect(disconnecting)
      return
    }
    if (refused.length === 0) {
      if (isAtOnce) request.isPassed = true
      else connection.toBroker.insert(packet)
      return
    }
    const code = connection.isV5 ? REASON.quotaExceeded : FAILURE
    if (refused.length === filters.length) {
      const explanation = connection.explain(refused[0]!)
      const codes = refusals.map(() => code)
      connection.answer(
        encodeSuback(connection.isV5, id, codes, explanation, connection.clientMaxBytes),
        code,
      )
      return
    }
    this.#refusedCodes.set(
      id,
      refusals.map(refusal => (refusal === undefined ? undefined : code)),
    )
    context.countRewrite(PACKET.subscribe)
    const kept = filters
      .filter((_, index) => refusals[index] === undefined)
      .map(filter => packet.subarray(filter.start, filter.end))
    const head = packet.subarray(request.bodyStart, request.filtersStart)
    connection.toBroker.insert(encodePacket(packet[0]!, head, ...kept))
  }
}

function readSubscribe(packet: Buffer, body: number, isV5: boolean): SubscribeRequest | undefined {
  const end = packet.length
  if (body + 2 > end) return undefined
  const filtersStart = isV5 ? readProperties(packet, body + 2, end)?.end : body + 2
  if (filtersStart === undefined) return undefined
  const filters: FilterField[] = []
  for (let at = filtersStart; at < end; ) {
    const filterEnd = endOfText(packet, at, end - 1)
    if (filterEnd === undefined || filters.length >= MAX_SIZES.filtersPerPacket) return undefined
    const filter = withoutShare(packet.toString('utf8', at + 2, filterEnd))
    filters.push({ start: at, end: filterEnd + 1, filter, qos: (packet[filterEnd]! & 3) as Qos })
    at = filterEnd + 1
  }
  if (filters.length === 0) return undefined
  return {
    packet,
    id: packet.readUInt16BE(body),
    filtersStart,
    bodyStart: body,
    filters,
    refusals: filters.map(() => undefined),
    undecided: filters.length,
    isPassed: false,
  }
}

/** Returns the filter of a shared subscription: `$share/group/filter`. */
function withoutShare(filter: string): string {
  if (!filter.startsWith(SHARED)) return filter
  const groupEnd = filter.indexOf('/', SHARED.length)
  return groupEnd < 0 ? filter : filter.slice(groupEnd + 1)
}
