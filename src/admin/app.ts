import type { IncomingMessage } from 'node:http'
import { type Context, Hono } from 'hono'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { AllowedHosts } from './access/allowed-hosts.ts'
import type { FailedTokens } from './access/failed-tokens.ts'
import { type Caller, hasRole } from './access/roles.ts'
import type { TokenFile } from './access/token-file.ts'
import { findCaller } from './access/tokens.ts'
import { BASE_PATH, createOpenApi } from './openapi.ts'
import { AdminProblem, problemResponse, toProblem } from './problem.ts'
import { defineRoute, type Route } from './route.ts'
import type { RouteAnswer } from './route-answer.ts'
import type { AdminState } from './state/admin-state.ts'
import { readUiFile } from './ui-files.ts'

/** Access to a listener: on a unix socket every caller is trusted, on TCP a token and an allowed host are needed. */
export type ListenerAccess =
  | { readonly kind: 'trusted'; readonly caller: Caller }
  | {
      readonly kind: 'tokens'
      readonly tokens: TokenFile
      readonly hosts: AllowedHosts
      readonly failures: FailedTokens
    }

/** What the HTTP server passes with each request. */
export interface AdminBindings {
  readonly access: ListenerAccess
  readonly incoming: IncomingMessage
}

type AdminContext = Context<{ Bindings: AdminBindings }>

/** Headers of every answer. */
const SECURITY_HEADERS = {
  'content-security-policy':
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
} as const

/** Creates the application that answers the requests of the admin API and the dashboard. */
export function createApp(state: AdminState, resources: readonly Route[]): Hono<{ Bindings: AdminBindings }> {
  const openApi = defineRoute({
    method: 'GET',
    path: '/openapi.json',
    role: undefined,
    summary: 'This document',
    answers: { 200: { description: 'OpenAPI 3.1.', type: 'application/json' } },
    handle: () => ({ body: document }),
  })
  const routes = [...resources, openApi]
  const document = createOpenApi(routes)
  const app = new Hono<{ Bindings: AdminBindings }>()

  app.use(async (context, next) => {
    await next()
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) context.res.headers.set(name, value)
  })
  app.use(async (context, next) => {
    checkHost(context)
    await next()
    // The answer to GET without its body: a stream would wait for its reader forever.
    if (context.req.raw.method === 'HEAD') await context.res.body?.cancel()
  })
  for (const [path, allowed] of groupByPath(routes)) {
    for (const route of allowed) {
      app.on(route.method, path, async context => answerRoute(route, context, state))
    }
    const methods = allowed.map(({ method }) => method).join(', ')
    app.all(path, () => {
      throw new AdminProblem(405, `use ${methods}`, { headers: { allow: methods } })
    })
  }
  app.get('/ui', context => context.redirect('ui/', 308))
  app.get('/ui/*', context => readUiFile(uiPath(context)))
  app.notFound(() => problemResponse(new AdminProblem(404, 'there is no such resource')))
  app.onError(error => {
    const problem = toProblem(error)
    if (problem.status === 500) state.gate.logger.error({ err: error }, 'a request of the admin API failed')
    return problemResponse(problem)
  })
  return app
}

/** Returns the routes by their path in the notation of hono. */
function groupByPath(routes: readonly Route[]): ReadonlyMap<string, readonly Route[]> {
  const groups = new Map<string, Route[]>()
  for (const route of routes) {
    const path = BASE_PATH + route.path.replaceAll(/\{(\w+)\}/g, ':$1')
    const group = groups.get(path)
    if (group === undefined) groups.set(path, [route])
    else group.push(route)
  }
  return groups
}

function checkHost({ env: { access }, req }: AdminContext): void {
  if (access.kind === 'trusted') return
  const origin = req.header('origin')
  if (!access.hosts.includes(req.header('host')))
    throw new AdminProblem(403, 'this host is not allowed (--admin-host adds one)')
  if (origin !== undefined && !access.hosts.includesOrigin(origin))
    throw new AdminProblem(403, 'pages of other sites may not use this API')
}

async function answerRoute(route: Route, context: AdminContext, state: AdminState): Promise<Response> {
  const { req, env } = context
  const { remoteAddress: ip } = env.incoming.socket
  const caller = authenticate(context, route, state, ip)
  const raw = { params: req.param(), query: req.query(), body: route.body && (await readJson(context)) }
  const answering = async (): Promise<RouteAnswer> =>
    route.answer(raw, {
      state,
      caller,
      ip,
      signal: req.raw.signal,
      header: name => req.header(name),
      isAuthorized: () => isAuthorized(context, caller, state),
    })
  const key = route.method === 'POST' && !isStreamed(route) ? req.header('idempotency-key') : undefined
  if (key === undefined) return toResponse(await answering())
  return toResponse(await state.answers.answerOnce(`${caller.name} ${req.path} ${key}`, raw.body, answering))
}

/** Returns the caller of a request. Throws AdminProblem: 401, 403 or 429. */
function authenticate(
  { env: { access }, req }: AdminContext,
  { role }: Route,
  { gate }: AdminState,
  ip = '',
): Caller {
  if (access.kind === 'trusted') return access.caller
  if (role === undefined) return { name: 'anonymous', role: 'viewer' }
  const nowMs = gate.clock.now()
  const token = tokenOf(req.header('authorization'))
  if (token === undefined) throw unauthorized('send a token: Authorization: Bearer tg_…', '')
  const caller = findCaller(access.tokens.entries(nowMs), token, nowMs)
  if (caller === undefined) {
    // Only wrong tokens are slowed down. Otherwise anyone behind the same proxy could lock all others out.
    const blockedMs = access.failures.blockedMs(ip, nowMs)
    if (blockedMs > 0) {
      const headers = { 'retry-after': String(Math.ceil(blockedMs / 1_000)) }
      throw new AdminProblem(429, 'too many wrong tokens came from this address', { headers })
    }
    access.failures.record(ip, nowMs)
    gate.logger.warn({ ip }, 'a wrong or expired token was refused by the admin API')
    throw unauthorized('the token is wrong or expired', ', error="invalid_token"')
  }
  if (hasRole(caller.role, role)) return caller
  throw new AdminProblem(403, `this needs the role ${role}; the token ${caller.name} has ${caller.role}`)
}

/** Returns true while the token of a caller is valid: a stream may outlive it. */
function isAuthorized(
  { env: { access }, req }: AdminContext,
  { name, role }: Caller,
  { gate }: AdminState,
): boolean {
  if (access.kind === 'trusted') return true
  const nowMs = gate.clock.now()
  const token = tokenOf(req.header('authorization'))
  const caller = token === undefined ? undefined : findCaller(access.tokens.entries(nowMs), token, nowMs)
  return caller?.name === name && caller.role === role
}

function tokenOf(header: string | undefined): string | undefined {
  return /^bearer +(\S+)$/i.exec(header ?? '')?.[1]
}

/** Returns true if the answer is not JSON: a stream can be read once. */
function isStreamed({ answers }: Route): boolean {
  return Object.values(answers).some(({ type }) => type !== undefined)
}

function unauthorized(detail: string, error: string): AdminProblem {
  return new AdminProblem(401, detail, {
    headers: { 'www-authenticate': `Bearer realm="topicgate"${error}` },
  })
}

/** Reads a JSON body. Throws AdminProblem: 400, 413 or 415. */
async function readJson({ req, env }: AdminContext): Promise<unknown> {
  const type = req.header('content-type') ?? ''
  if (!/^application\/json\s*(;|$)/i.test(type))
    throw new AdminProblem(415, 'send content-type: application/json')
  const text = await readText(env.incoming)
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new AdminProblem(400, 'the body is not JSON')
  }
}

/** Reads a body, no further than its maximum. */
async function readText(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = Number(incoming.headers['content-length'] ?? 0)
  let readBytes = 0
  if (bytes <= MAX_SIZES.adminBodyBytes) {
    for await (const chunk of incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      readBytes += chunk.length
      bytes = Math.max(bytes, readBytes)
      if (bytes > MAX_SIZES.adminBodyBytes) break
    }
  }
  if (bytes <= MAX_SIZES.adminBodyBytes) return Buffer.concat(chunks).toString()
  const headers = { connection: 'close' }
  throw new AdminProblem(413, `a body has at most ${MAX_SIZES.adminBodyBytes} bytes`, { headers })
}

function toResponse(answer: RouteAnswer): Response {
  if (answer instanceof Response) return answer
  const { status = 200, body, headers } = answer
  if (body === undefined)
    return new Response(null, { status, headers: { 'cache-control': 'no-store', ...headers } })
  return new Response(`${JSON.stringify(body)}\n`, {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers },
  })
}

/** Returns the path below /ui/. Throws AdminProblem if it is not percent-encoded correctly. */
function uiPath({ req }: AdminContext): string {
  try {
    return decodeURIComponent(req.path.slice('/ui/'.length))
  } catch {
    throw new AdminProblem(400, 'the path is malformed')
  }
}
