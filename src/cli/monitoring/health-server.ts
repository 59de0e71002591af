import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { addressKey } from '../../conditions/address-network.ts'
import { limitSockets } from '../../core/socket-limit.ts'
import { METRICS_TYPE, type Store, type StoreHealth } from '../../index.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'

export interface HealthOptions {
  readonly store: Store
  /** Returns whether the broker serves clients, and its number of rules. */
  readonly readState: () => { readonly serving: boolean; readonly rules: number }
  /** Returns metrics in the text format of Prometheus. */
  readonly metrics: () => Promise<string>
  readonly host: string
  /** 0 for a free one. */
  readonly port: number
}

export interface HealthServer {
  readonly port: number
  close(): Promise<void>
}

/** Time limit of a request: probes are small and fast. */
const REQUEST_TIMEOUT_MS = 5_000
const CHECK_MS = 1_000
const SOCKETS = { max: 64, maxPerAddress: 16, keyOf: addressKey }

/**
 * Starts a health server. `GET /live`: 200 while the process answers. `GET /ready`: 200 while clients are served, else
 * 503, with the state of the store. An unreachable store does not make the broker unready, because its fallback
 * decides. With the fallback `deny` it does, until the store is tried again. `GET /metrics`: for Prometheus. Throws
 * CommandError with exit code 69 if the port is not available.
 */
export async function startHealth(options: HealthOptions): Promise<HealthServer> {
  const server = createServer(
    {
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: 1_000,
      connectionsCheckingInterval: CHECK_MS,
    },
    (request, response) => void respond(request, response, options),
  )
  limitSockets(server, SOCKETS)
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
  const { ok, state, fallback, detail, warnings } = await healthOf(options.store)
  const { serving, rules } = options.readState()
  const ready = serving && !(fallback === 'deny' && state === 'open')
  const store = { name: options.store.name, ok, state, fallback, detail, warnings }
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
      const reason = cause.code === 'EADDRINUSE' ? 'another program uses it' : cause.message
      const text = `cannot serve health checks at ${host}:${port}: ${reason} (choose another with --health)`
      reject(new CommandError(text, EXIT.unavailable, { cause }))
    })
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port))
  })
}
