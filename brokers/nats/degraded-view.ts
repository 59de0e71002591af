import type { Degraded } from '../../src/outcomes/degrade.ts'
import type { NatsHeaders, NatsMessage } from './client-types.ts'
import { extendHeaders, type HeadersFactory } from './headers.ts'

/**
 * Returns the degraded form of a message: an object with the new payload or headers whose prototype is the client's
 * message, so that `ack` and `respond` still work. Headers are added only if there is a factory.
 */
export function degradedView(
  message: NatsMessage,
  { payload, headers }: Degraded,
  make: HeadersFactory | undefined,
): NatsMessage {
  const marked = Object.keys(headers).length > 0 ? extendHeaders(make, headers, message) : undefined
  if (payload === undefined && marked === undefined) return message
  const own: PropertyDescriptorMap = {}
  if (marked !== undefined) own.headers = { value: marked satisfies NatsHeaders }
  if (payload !== undefined) {
    own.data = { value: payload }
    own.string = { value: () => Buffer.from(payload).toString() }
    own.json = { value: () => JSON.parse(Buffer.from(payload).toString()) }
  }
  return Object.create(message, own) as NatsMessage
}
