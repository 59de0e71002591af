import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { METRICS_TYPE, type Store, type StoreHealth } from '../index.ts'
import { CommandFailure, EXIT } from './failure.ts'

export interface HealthOptions {
  readonly store: Store
  /** Whether clients are served, and by how many rules. */
  readonly look: () => { readonly serving: boolean; readonly rules: number }
  /** In the text format of Prometheus. */
  readonly metrics: () => Promise<string>
  readonly host: string
  /** 0 for a free one. */
  readonly port: number
}

export interface HealthServer {
  readonly port: number
  close(): Promise<void>
}

/** Probes ask for a few bytes; whoever takes longer is no probe. */
const REQUEST_MS = 5_000
const MOST_CONNECTIONS = 64

/**
 * `GET /live`: 200 while the process answers. `GET /ready`: 200 while clients are served, else 503, with the state of
 * the store. A store out of reach makes no broker unready, as its fallback serves on; but where that is `deny`, it does
 * until the store is tried again. `GET /metrics`: for Prometheus. Throws CommandFailure with exit code 69 for a port it cannot have.
 */
export async function startHealth(options: HealthOptions): Promise<HealthServer> {
  const server = createServer(
    { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, keepAliveTimeout: 1_000 },
    (request, response) => void respond(request, response, options),
  )
  server.maxConnections = MOST_CONNECTIONS
  const port = await listen(server, options.port, options.host)
  return {
    port,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function respond(
  { method, url }: IncomingMessage,
  response: ServerResponse,
  options: HealthOptions,
): Promise<void> {
  const send = (status: number, type: string, body: string): void => {
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' })
    response.end(method === 'HEAD' ? undefined : body)
  }
  const answer = (status: number, body: object): void =>
    send(status, 'application/json', `${JSON.stringify(body)}\n`)
  const path = url?.split('?')[0]
  if (method !== 'GET' && method !== 'HEAD') return answer(405, { error: 'only GET is answered' })
  if (path === '/live') return answer(200, { live: true })
  if (path === '/metrics') return send(200, METRICS_TYPE, await options.metrics())
  if (path !== '/ready') return answer(404, { error: 'there are /live, /ready and /metrics' })
  const { ok, state, fallback, detail } = await healthOf(options.store)
  const { serving, rules } = options.look()
  const ready = serving && !(fallback === 'deny' && state === 'open')
  const store = { name: options.store.name, ok, state, fallback, detail }
  answer(ready ? 200 : 503, { ready, rules, store })
}

async function healthOf(store: Store): Promise<StoreHealth> {
  try {
    return await store.health()
  } catch (cause) {
    return { ok: false, detail: cause instanceof Error ? cause.message : String(cause) }
  }
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const reason = cause.code === 'EADDRINUSE' ? 'another program has it' : cause.message
      const text = `cannot tell of health at ${host}:${port}: ${reason} (choose another with --health)`
      reject(new CommandFailure(text, EXIT.unavailable, { cause }))
    })
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port))
  })
}
