import { findMessageProblem, wrongTypeError } from '../../src/publish/check-message.ts'
import type { NatsHeaders } from './client.ts'

/** What is published along with a message. `msgID` and `expect` are for JetStream. */
export interface NatsPublishOptions {
  readonly headers?: NatsHeaders | undefined
  readonly reply?: string | undefined
  /** Known to the stream, it stores a message once: with it also an answer that did not come is asked for again. */
  readonly msgID?: string | undefined
  readonly expect?: object | undefined
}

/**
 * Returns what is wrong with a message, so that the client would throw or write something else than one message; undefined if
 * nothing is. Never throws.
 */
export function findPublishProblem(
  subject: unknown,
  payload: unknown,
  { headers, reply, msgID }: NatsPublishOptions,
): Error | undefined {
  const flaw = findMessageProblem(subject, payload, 'nats')
  if (flaw !== undefined) return flaw
  if (reply !== undefined && reply !== '' && findMessageProblem(reply, '', 'nats') !== undefined)
    return wrongTypeError('reply', reply, 'a subject')
  if (msgID !== undefined && (typeof msgID !== 'string' || /[\r\n]/.test(msgID)))
    return wrongTypeError('msgID', msgID, 'text of one line')
  if (headers !== undefined && typeof (headers as Partial<typeof headers> | null)?.keys !== 'function')
    return wrongTypeError('headers', headers, 'made by `headers` of the client')
  return undefined
}

/** Returns an error if a payload is larger than the server takes (`max_payload`). */
export function findSizeProblem({ size }: { readonly size: number }, most = Infinity): Error | undefined {
  return size <= most
    ? undefined
    : new RangeError(`payload: ${size} bytes are more than the server takes, ${most} bytes.`)
}
