import * as z from 'zod'
import type { Problem } from '../core/errors.ts'
import type { MaybePromise } from '../core/message.ts'
import type { Caller, Role } from './access/roles.ts'
import { formatPath } from './path-text.ts'
import { AdminProblem } from './problem.ts'
import type { RouteAnswer } from './route-answer.ts'
import type { AdminState } from './state/admin-state.ts'

/** What a route knows of its request besides the parsed input. */
export interface RouteContext {
  readonly state: AdminState
  readonly caller: Caller
  /** Address of the client; undefined on a unix socket. */
  readonly ip: string | undefined
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal
  /** Returns the value of a request header. */
  header(name: string): string | undefined
  /** Returns true while the token is valid. Streams ask it again and again. */
  isAuthorized(): boolean
}

/** Answer as the OpenAPI document describes it. */
export interface AnswerSpec {
  readonly description: string
  /** JSON body. */
  readonly schema?: z.ZodType | undefined
  /** Media type of a body that is not JSON. */
  readonly type?: string | undefined
}

interface RouteOptions<Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Path below the base path, with parameters as `{id}`. */
  readonly path: string
  /** Role that a caller needs; undefined: no token is needed. */
  readonly role: Role | undefined
  readonly summary: string
  readonly params?: Params | undefined
  readonly query?: Query | undefined
  readonly body?: Body | undefined
  /** Answers by status, besides the problems that every route may answer with. */
  readonly answers: Readonly<Record<number, AnswerSpec>>
  handle(
    input: {
      readonly params: z.output<Params>
      readonly query: z.output<Query>
      readonly body: z.output<Body>
    },
    context: RouteContext,
  ): MaybePromise<RouteAnswer>
}

/** Input of a request before it is parsed. */
export interface RawInput {
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, string>>
  readonly body: unknown
}

/** A resource of the admin API: its description, and the function that answers. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly path: string
  readonly role: Role | undefined
  readonly summary: string
  readonly params: z.ZodType | undefined
  readonly query: z.ZodType | undefined
  readonly body: z.ZodType | undefined
  readonly answers: Readonly<Record<number, AnswerSpec>>
  /** Parses the input and answers. Throws AdminProblem with status 400 for input of the wrong form. */
  answer(raw: RawInput, context: RouteContext): MaybePromise<RouteAnswer>
}

const NOTHING = z.object({})

/** Defines a route whose input is parsed before `handle` sees it. */
export function defineRoute<
  Params extends z.ZodType = typeof NOTHING,
  Query extends z.ZodType = typeof NOTHING,
  Body extends z.ZodType = typeof NOTHING,
>(options: RouteOptions<Params, Query, Body>): Route {
  const { method, path, role, summary, params, query, body, answers } = options
  return {
    method,
    path,
    role,
    summary,
    params,
    query,
    body,
    answers,
    answer: (raw, context) =>
      options.handle(
        {
          params: parse(params ?? NOTHING, raw.params) as z.output<Params>,
          query: parse(query ?? NOTHING, raw.query) as z.output<Query>,
          body: (body === undefined ? undefined : parse(body, raw.body)) as z.output<Body>,
        },
        context,
      ),
  }
}

function parse(schema: z.ZodType, value: unknown): unknown {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const problems = result.error.issues.map(
    ({ path, message }): Problem => ({ path: formatPath(path), message }),
  )
  const [first] = problems
  const detail = first === undefined ? 'the input is invalid' : `${first.path || 'body'}: ${first.message}`
  throw new AdminProblem(400, detail, { problems })
}
