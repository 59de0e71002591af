import { findMessageProblem, wrongTypeError } from '../../src/publish/check-message.ts'
import type { NatsHeaders } from './client-types.ts'

/** Options of a published message. `msgID` and `expect` are for JetStream. */
export interface NatsPublishOptions {
  readonly headers?: NatsHeaders | undefined
  readonly reply?: string | undefined
  /** Message id. The stream stores each id once, so that a message without an answer may be sent again. */
  readonly msgID?: string | undefined
  readonly expect?: object | undefined
}

/**
 * Returns the problem with a message for which the client would throw or write something else, or undefined if none
 * exists. Never throws.
 */
export function findPublishProblem(
  subject: unknown,
  payload: unknown,
  { headers, reply, msgID }: NatsPublishOptions,
): Error | undefined {
  const problem = findMessageProblem(subject, payload, 'nats')
  if (problem !== undefined) return problem
  if (reply !== undefined && reply !== '' && findMessageProblem(reply, '', 'nats') !== undefined)
    return wrongTypeError('reply', reply, 'a subject')
  if (msgID !== undefined && (typeof msgID !== 'string' || /[\r\n]/.test(msgID)))
    return wrongTypeError('msgID', msgID, 'text of one line')
  if (headers !== undefined && typeof (headers as Partial<typeof headers> | null)?.keys !== 'function')
    return wrongTypeError('headers', headers, 'made by `headers` of the client')
  return undefined
}

/** Returns an error if a payload exceeds the server's `max_payload`. */
export function findSizeProblem({ size }: { readonly size: number }, maxBytes = Infinity): Error | undefined {
  return size <= maxBytes
    ? undefined
    : new RangeError(`payload: ${size} bytes exceed the limit of the server, ${maxBytes} bytes.`)
}
