import { readFileSync } from 'node:fs'
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Problem } from '../../core/errors.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { findContext } from './contexts.ts'

/** Flags of every command that talks to a running topicgate. */
export interface ConnectionFlags {
  readonly to?: string
  readonly tokenFile?: string
  readonly json?: boolean
}

/** Socket that commands use if nothing else is named. */
export const DEFAULT_ADDRESS = 'unix:topicgate.sock'

const BASE_PATH = '/api/v1'
const TIMEOUT_MS = 10_000

/** A request that the admin API refused. */
export class RefusedRequestError extends CommandError {
  readonly status: number
  readonly title: string
  readonly detail: string
  readonly problems: readonly Problem[]

  constructor(status: number, body: { title?: string; detail?: string; problems?: readonly Problem[] }) {
    const { title = `status ${status}`, detail = '', problems = [] } = body
    super(detail === '' ? title : `${title}: ${detail}`, exitCodeOf(status))
    this.status = status
    this.title = title
    this.detail = detail
    this.problems = problems
  }
}

function exitCodeOf(status: number): number {
  if (status === 401 || status === 403) return EXIT.notAllowed
  if (status === 400 || status === 415) return EXIT.usage
  return status === 503 ? EXIT.unavailable : EXIT.failed
}

/** Client of the admin API, over a unix socket or a URL. */
export class AdminClient {
  readonly address: string
  readonly #token: string | undefined

  constructor(address: string, token: string | undefined) {
    this.address = address
    this.#token = token
  }

  get<T = unknown>(path: string): Promise<T> {
    return this.send<T>('GET', path)
  }

  /** Sends a request and returns the JSON body of the answer. Rejects with CommandError. */
  async send<T = unknown>(
    method: string,
    path: string,
    body?: object,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<T> {
    const content = body === undefined ? undefined : JSON.stringify(body)
    const response = await this.#open(method, path, content, headers)
    const chunks: Buffer[] = []
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString()
    const parsed = parseJson(text)
    const status = response.statusCode ?? 0
    if (status < 200 || status > 299) throw new RefusedRequestError(status, asObject(parsed))
    return parsed as T
  }

  /** Calls a listener with the type and data of each event, until it returns false or the server ends the stream. */
  async follow(
    path: string,
    onEvent: (type: string, data: unknown) => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const response = await this.#open('GET', path, undefined, { accept: 'text/event-stream' })
    const stop = (): void => void response.destroy()
    signal.addEventListener('abort', stop, { once: true })
    if ((response.statusCode ?? 0) !== 200) {
      stop()
      throw new RefusedRequestError(response.statusCode ?? 0, {})
    }
    let text = ''
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        text += chunk.toString()
        const frames = text.split('\n\n')
        text = frames.pop() ?? ''
        for (const frame of frames) if (!deliver(frame, onEvent)) return
      }
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      stop()
    }
  }

  /** Sends a request and passes the body of the answer on as it comes. Rejects with CommandError. */
  async pipe(
    path: string,
    body: object,
    write: (chunk: Buffer) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const response = await this.#open('POST', path, JSON.stringify(body), {})
    const isFine = response.statusCode === 200
    signal.addEventListener('abort', () => void response.destroy(), { once: true })
    let refusal = ''
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        if (isFine) await write(chunk)
        else refusal += chunk.toString()
      }
    } catch (error) {
      if (!signal.aborted) throw error
    }
    if (!isFine) throw new RefusedRequestError(response.statusCode ?? 0, asObject(parseJson(refusal)))
  }

  #open(
    method: string,
    path: string,
    content: string | undefined,
    headers: Readonly<Record<string, string>>,
  ): Promise<IncomingMessage> {
    const all = {
      ...headers,
      ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
      ...(content === undefined ? {} : { 'content-type': 'application/json' }),
    }
    return new Promise((resolve, reject) => {
      const request = this.#request(method, BASE_PATH + path, all)
      request.once('response', response => {
        request.setTimeout(0)
        resolve(response)
      })
      request.once('error', cause => reject(this.#unreachable(cause)))
      request.setTimeout(TIMEOUT_MS, () =>
        request.destroy(new Error(`no answer within ${TIMEOUT_MS / 1_000} s`)),
      )
      request.end(content)
    })
  }

  #request(method: string, path: string, headers: Readonly<Record<string, string>>): ClientRequest {
    const { address } = this
    if (address.startsWith('unix:'))
      return httpRequest({ socketPath: address.slice('unix:'.length), method, path, headers, agent: false })
    const base = new URL(address)
    const url = new URL(base.pathname.replace(/\/$/, '') + path, base)
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    return send(url, { method, headers, agent: false })
  }

  #unreachable(cause: Error): CommandError {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'EACCES')
      return new CommandError(
        `${this.address} belongs to another user (use a URL and a token)`,
        EXIT.notAllowed,
        { cause },
      )
    const remedy = 'start it with topicgate broker --admin, or name it with --to'
    return new CommandError(
      `nobody answers at ${this.address}: ${code ?? cause.message} (${remedy})`,
      EXIT.unavailable,
      { cause },
    )
  }
}

/**
 * Returns a client for --to, TOPICGATE_ADMIN, the context in use, or the socket of this folder, in this order. Throws
 * CommandError.
 */
export function openAdminClient(flags: ConnectionFlags, env: Terminal['env']): AdminClient {
  const named = flags.to ?? (env.TOPICGATE_ADMIN || undefined)
  const context = named === undefined ? findContext(env) : undefined
  const address = named ?? context?.to ?? DEFAULT_ADDRESS
  if (!/^unix:.|^https?:\/\//.test(address)) {
    const remedy = 'write unix:PATH, or a URL as http://127.0.0.1:8080'
    throw new CommandError(`${JSON.stringify(address)} is not an address (${remedy})`, EXIT.usage)
  }
  const file = flags.tokenFile ?? context?.tokenFile
  return new AdminClient(address, file === undefined ? env.TOPICGATE_TOKEN || undefined : readToken(file))
}

function readToken(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    const { code = String(cause) } = cause as NodeJS.ErrnoException
    throw new CommandError(`the token cannot be read from ${file}: ${code}`, EXIT.usage, { cause })
  }
}

/** Passes a frame of server-sent events on. Returns false to stop. */
function deliver(frame: string, onEvent: (type: string, data: unknown) => boolean): boolean {
  let type = 'message'
  let data = ''
  for (const line of frame.split('\n')) {
    if (line.startsWith('event: ')) type = line.slice('event: '.length)
    else if (line.startsWith('data: ')) data += line.slice('data: '.length)
  }
  return data === '' || onEvent(type, parseJson(data))
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function asObject(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {}
}
