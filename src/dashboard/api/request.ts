import { signOut, token } from '../state/session.ts'
import type { Problem } from './types.ts'

/** A request that the server refused, or that did not reach it: then the status is 0. */
export class RequestError extends Error {
  readonly status: number
  readonly problems: readonly Problem[]

  constructor(status: number, message: string, problems: readonly Problem[] = []) {
    super(message)
    this.status = status
    this.problems = problems
  }
}

/** Relative, so that the dashboard works under any base path of a proxy. */
const BASE = '../api/v1/'

export interface RequestOptions {
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly signal?: AbortSignal | undefined
}

/** Sends a request with the token. Rejects with RequestError; a wrong token signs out. */
export async function send(
  method: string,
  path: string,
  { body, headers, signal }: RequestOptions = {},
): Promise<Response> {
  const used = token.peek()
  const all = new Headers(headers)
  if (used !== '') all.set('authorization', `Bearer ${used}`)
  if (body !== undefined) all.set('content-type', 'application/json')
  let response: Response
  try {
    const text = body === undefined ? undefined : JSON.stringify(body)
    response = await fetch(BASE + path, { method, headers: all, body: text, signal })
  } catch (cause) {
    if (signal?.aborted) throw cause
    throw new RequestError(0, 'The server does not answer.')
  }
  if (response.ok) return response
  const error = await readError(response)
  // Several requests may fail for the same token; the first one signs out.
  if (error.status === 401 && used === token.peek()) signOut(used === '' ? '' : error.message)
  throw error
}

/** Returns the JSON of an answer. Rejects like `send`. */
export async function request<T>(method: string, path: string, options?: RequestOptions): Promise<T> {
  const response = await send(method, path, options)
  return response.status === 204 ? (undefined as T) : ((await response.json()) as T)
}

async function readError(response: Response): Promise<RequestError> {
  try {
    const { detail, problems } = (await response.json()) as { detail: string; problems?: Problem[] }
    const remedy = problems?.[0]?.remedy
    return new RequestError(response.status, remedy ? `${detail} (${remedy})` : detail, problems)
  } catch {
    return new RequestError(response.status, `The server answers ${response.status}.`)
  }
}
