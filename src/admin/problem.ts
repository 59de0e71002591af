import { PolicyError, type Problem, StoreError } from '../core/errors.ts'

/** HTTP statuses of refused requests, with their titles. */
export const PROBLEM_TITLES = {
  400: 'The request is malformed',
  401: 'A token is required',
  403: 'Not allowed',
  404: 'Not found',
  405: 'The method is not allowed',
  409: 'The state does not allow this',
  412: 'The policy has changed since it was read',
  413: 'The body is too large',
  415: 'The media type is not supported',
  422: 'The content is invalid',
  428: 'If-Match is required',
  429: 'Too many requests',
  500: 'The server failed',
  503: 'The store is not available',
} as const
export type ProblemStatus = keyof typeof PROBLEM_TITLES

export const PROBLEM_TYPE = 'application/problem+json'

/** Refuses a request of the admin API: an error of RFC 9457. */
export class AdminProblem extends Error {
  override readonly name = 'AdminProblem'
  readonly code = 'TOPICGATE_ADMIN'
  readonly status: ProblemStatus
  readonly problems: readonly Problem[] | undefined
  readonly headers: Readonly<Record<string, string>>

  constructor(
    status: ProblemStatus,
    detail: string,
    options: {
      readonly problems?: readonly Problem[] | undefined
      readonly headers?: Readonly<Record<string, string>> | undefined
    } = {},
  ) {
    super(detail)
    this.status = status
    this.problems = options.problems
    this.headers = options.headers ?? {}
  }
}

/** Returns the problem of an error: invalid content is 422, a broken store 503, anything unexpected 500 without details. */
export function toProblem(error: unknown): AdminProblem {
  if (error instanceof AdminProblem) return error
  if (error instanceof PolicyError) {
    return new AdminProblem(422, error.problems[0]?.message ?? error.message, { problems: error.problems })
  }
  if (error instanceof StoreError) return new AdminProblem(503, error.message)
  return new AdminProblem(500, 'an error was logged')
}

/** Returns the response of a problem. */
export function problemResponse({ status, message, problems, headers }: AdminProblem): Response {
  const body = { type: 'about:blank', title: PROBLEM_TITLES[status], status, detail: message, problems }
  return new Response(`${JSON.stringify(body)}\n`, {
    status,
    headers: { 'content-type': PROBLEM_TYPE, 'cache-control': 'no-store', ...headers },
  })
}
