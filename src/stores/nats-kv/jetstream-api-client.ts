import { StoreError } from '../../core/errors.ts'
import { makeHeaders, type NatsConnectionWrapper } from './connection-wrapper.ts'

/** JetStream error codes that do not mean a fault (ADR-1 of NATS, errors.json of the server). */
export const NO_MESSAGE = 10037
export const STREAM_EXISTS = 10058
export const STREAM_NOT_FOUND_CODE = 10059
/** Also returned while another node creates the same stream. */
export const SUBJECTS_OVERLAP = 10065
export const WRONG_SEQUENCE = 10071
export const NOT_STORED_CODE = 10077

/** Error in a JetStream reply. */
export interface JetStreamApiError {
  readonly err_code: number
  readonly description: string
}

/** Used settings of a stream, with the server's names. */
export interface StreamConfig {
  readonly name: string
  readonly subjects?: readonly string[] | undefined
  readonly retention?: string | undefined
  readonly discard?: string | undefined
  readonly discard_new_per_subject?: boolean | undefined
  readonly max_msgs_per_subject?: number | undefined
  readonly max_msgs?: number | undefined
  readonly max_bytes?: number | undefined
  /** In nanoseconds; 0 means forever. */
  readonly max_age?: number | undefined
  readonly storage?: string | undefined
  readonly num_replicas?: number | undefined
  readonly deny_purge?: boolean | undefined
  readonly mirror?: object | undefined
}

export interface StreamInfo {
  readonly config: StreamConfig
  /** Creation time; another time means another stream. */
  readonly created: string
  /** Time of the answer by the server's clock, since nats-server 2.10. */
  readonly ts?: string | undefined
  readonly state: {
    readonly last_seq: number
    readonly messages: number
    readonly bytes: number
    readonly subjects?: Readonly<Record<string, number>> | undefined
  }
}

/** Message of a stream: its sequence, subject and time. */
export interface StoredMessage {
  readonly seq: number
  readonly subject: string
  readonly data: Uint8Array
  readonly timeMs: number
}

const decoder = new TextDecoder()

/** Used part of the JetStream API. Each call rejects with StoreError if there is no answer in time. */
export class JetStreamApi {
  readonly #link: NatsConnectionWrapper

  constructor(link: NatsConnectionWrapper) {
    this.#link = link
  }

  /** Calls `$JS.API.<call>`; returns `tolerated` errors and throws all others. */
  async call<T>(
    call: string,
    body: object | undefined,
    deadlineMs: number,
    ...tolerated: number[]
  ): Promise<{ readonly value: T; readonly error?: undefined } | { readonly error: JetStreamApiError }> {
    const payload = body === undefined ? '' : JSON.stringify(body)
    const reply = parse(await this.#link.request(`$JS.API.${call}`, payload, deadlineMs))
    if (reply.error === undefined) return { value: reply as T }
    if (tolerated.includes(reply.error.err_code)) return { error: reply.error }
    throw convertApiError(reply.error)
  }

  /** Stores a message; returns its sequence, or a tolerated error. */
  async publish(
    subject: string,
    data: Uint8Array,
    fields: Readonly<Record<string, string | number>>,
    deadlineMs: number,
    tolerated?: number,
  ): Promise<{ readonly seq: number } | JetStreamApiError> {
    const headers = Object.keys(fields).length > 0 ? makeHeaders(fields) : undefined
    const reply = parse(await this.#link.request(subject, data, deadlineMs, headers))
    if (reply.error === undefined) return { seq: Number(reply.seq) }
    if (reply.error.err_code === tolerated) return reply.error
    throw convertApiError(reply.error)
  }

  /** Reads a message from the stream's leader: by sequence, or the last or next of a subject. */
  async message(stream: string, which: object, deadlineMs: number): Promise<StoredMessage | undefined> {
    const answer = await this.call<{
      message: { seq: number; subject: string; data?: string; time: string }
    }>(`STREAM.MSG.GET.${stream}`, which, deadlineMs, NO_MESSAGE)
    if (answer.error !== undefined) return undefined
    const { seq, subject, data = '', time } = answer.value.message
    return { seq, subject, data: Buffer.from(data, 'base64'), timeMs: Date.parse(time) }
  }
}

export function convertApiError({ err_code, description }: JetStreamApiError): StoreError {
  return new StoreError(`nats: ${description} (${err_code})`, { cause: { err_code } })
}

/** Returns true if the stream does not exist and has to be created again. */
export function isStreamMissing(error: unknown): boolean {
  const { cause } = error as { readonly cause?: { readonly err_code?: unknown } | undefined }
  return cause?.err_code === STREAM_NOT_FOUND_CODE
}

function parse(data: Uint8Array): { readonly error?: JetStreamApiError; readonly seq?: unknown } {
  try {
    return JSON.parse(decoder.decode(data)) as { readonly error?: JetStreamApiError }
  } catch (cause) {
    throw new StoreError('nats: the reply is not from JetStream', { cause })
  }
}
