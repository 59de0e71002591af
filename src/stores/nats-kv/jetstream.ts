import { StoreError } from '../../core/errors.ts'
import { type Link, makeHeaders } from './connection.ts'

/** Codes of JetStream that mean something other than broken (ADR-1 of NATS, errors.json of the server). */
export const NO_MESSAGE = 10037
export const STREAM_EXISTS = 10058
export const NO_STREAM = 10059
/** Also answered while another node is making the very same stream. */
export const SUBJECTS_OVERLAP = 10065
export const WRONG_SEQUENCE = 10071
export const NOT_STORED = 10077

/** An error that JetStream answered. */
export interface ApiError {
  readonly err_code: number
  readonly description: string
}

/** Settings of a stream, as far as they are looked at; the server's own names. */
export interface StreamConfig {
  readonly name: string
  readonly subjects?: readonly string[] | undefined
  readonly retention?: string | undefined
  readonly discard?: string | undefined
  readonly discard_new_per_subject?: boolean | undefined
  readonly max_msgs_per_subject?: number | undefined
  readonly max_msgs?: number | undefined
  readonly max_bytes?: number | undefined
  /** In nanoseconds; 0 for ever. */
  readonly max_age?: number | undefined
  readonly storage?: string | undefined
  readonly num_replicas?: number | undefined
  readonly deny_purge?: boolean | undefined
  readonly mirror?: object | undefined
}

export interface StreamInfo {
  readonly config: StreamConfig
  /** When it was made: another time, another stream. */
  readonly created: string
  readonly state: {
    readonly last_seq: number
    readonly messages: number
    readonly bytes: number
    readonly subjects?: Readonly<Record<string, number>> | undefined
  }
}

/** A message of a stream: its sequence, its subject, and when the server took it. */
export interface StoredMessage {
  readonly seq: number
  readonly subject: string
  readonly data: Uint8Array
  readonly timeMs: number
}

const decoder = new TextDecoder()

/** The part of the JetStream API that stores need; each call rejects with StoreError when it has no answer in time. */
export class JetStream {
  readonly #link: Link

  constructor(link: Link) {
    this.#link = link
  }

  /** Asks `$JS.API.<call>`; `tolerated` errors are returned, all others thrown. */
  async call<T>(
    call: string,
    body: object | undefined,
    deadlineMs: number,
    ...tolerated: number[]
  ): Promise<{ readonly value: T; readonly error?: undefined } | { readonly error: ApiError }> {
    const payload = body === undefined ? '' : JSON.stringify(body)
    const reply = parse(await this.#link.request(`$JS.API.${call}`, payload, deadlineMs))
    if (reply.error === undefined) return { value: reply as T }
    if (tolerated.includes(reply.error.err_code)) return { error: reply.error }
    throw apiError(reply.error)
  }

  /** Stores a message; the sequence it has, or the error that is tolerated. */
  async publish(
    subject: string,
    data: Uint8Array,
    fields: Readonly<Record<string, string | number>>,
    deadlineMs: number,
    tolerated?: number,
  ): Promise<{ readonly seq: number } | ApiError> {
    const headers = Object.keys(fields).length > 0 ? makeHeaders(fields) : undefined
    const reply = parse(await this.#link.request(subject, data, deadlineMs, headers))
    if (reply.error === undefined) return { seq: Number(reply.seq) }
    if (reply.error.err_code === tolerated) return reply.error
    throw apiError(reply.error)
  }

  /** A message as the stream's leader has it: that of a sequence, the last or the next of a subject. */
  async message(stream: string, which: object, deadlineMs: number): Promise<StoredMessage | undefined> {
    const answer = await this.call<{
      message: { seq: number; subject: string; data?: string; time: string }
    }>(`STREAM.MSG.GET.${stream}`, which, deadlineMs, NO_MESSAGE)
    if (answer.error !== undefined) return undefined
    const { seq, subject, data = '', time } = answer.value.message
    return { seq, subject, data: Buffer.from(data, 'base64'), timeMs: Date.parse(time) }
  }
}

export function apiError({ err_code, description }: ApiError): StoreError {
  return new StoreError(`nats: ${description} (${err_code})`, { cause: { err_code } })
}

/** Whether a stream was not there: it is to be made again. */
export function isMissing(error: unknown): boolean {
  const { cause } = error as { readonly cause?: { readonly err_code?: unknown } | undefined }
  return cause?.err_code === NO_STREAM
}

function parse(data: Uint8Array): { readonly error?: ApiError; readonly seq?: unknown } {
  try {
    return JSON.parse(decoder.decode(data)) as { readonly error?: ApiError }
  } catch (cause) {
    throw new StoreError('nats: an answer that is not of JetStream', { cause })
  }
}
