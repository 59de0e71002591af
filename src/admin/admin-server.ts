import { createServer, type Server } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Analytics } from '../analytics/analytics.ts'
import type { SnapshotStore } from '../analytics/snapshot-store.ts'
import { addressKey } from '../conditions/address-network.ts'
import { policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import { limitSockets } from '../core/socket-limit.ts'
import type { Gate } from '../gate/gate.ts'
import { Alerts } from '../metrics/alert-monitor.ts'
import type { DecisionTimer } from '../metrics/decision-timer.ts'
import { AllowedHosts } from './access/allowed-hosts.ts'
import { FailedTokens } from './access/failed-tokens.ts'
import { TokenFile } from './access/token-file.ts'
import type { AdminPolicyFiles } from './admin-policy-files.ts'
import { createApp, type ListenerAccess } from './app.ts'
import { type AuditLog, keepAuditLog } from './audit-log.ts'
import { type AdminAddress, formatAdminAddress, listenAt, parseAdminAddress } from './listen.ts'
import type { Route } from './route.ts'
import { CAPTURE_ROUTES } from './routes/capture.ts'
import { ENTRY_ROUTES } from './routes/entries.ts'
import { EVENT_ROUTES } from './routes/events.ts'
import { EXPLAIN_AND_DECIDE_ROUTES } from './routes/explain-and-decide.ts'
import { OVERVIEW_ROUTES } from './routes/overview.ts'
import { POLICY_ROUTES } from './routes/policy.ts'
import { RESET_ROUTES } from './routes/resets.ts'
import { RULE_ROUTES } from './routes/rules.ts'
import { SENDER_ROUTES } from './routes/senders.ts'
import { SUGGEST_ROUTES } from './routes/suggest.ts'
import { type AdminBroker, AdminState, type FurtherChecks, type LimitSuggester } from './state/admin-state.ts'

/** Options of an admin server. */
export interface AdminServerOptions {
  /** Addresses to listen at: `unix:PATH`, whose callers are admins, or `HOST:PORT`, which needs `tokens`. */
  readonly listen: string | readonly string[]
  /** File of the tokens, as `topicgate token create` writes it. */
  readonly tokens?: string | undefined
  /** Names of this server in Host headers, besides those of this machine and the hosts of `listen`. */
  readonly hosts?: readonly string[] | undefined
  /** Broker or gateway behind the gate, for its connections and senders. */
  readonly broker?: AdminBroker | undefined
  /** Files of the policy. Default: the API shows the policy and cannot change it. */
  readonly policy?: AdminPolicyFiles | undefined
  /** Default: made by the server. Give yours if you have them, because each counts every decision. */
  readonly analytics?: Analytics | undefined
  readonly alerts?: Alerts | undefined
  readonly durations?: DecisionTimer | undefined
  readonly audit?: AuditLog | undefined
  /** Store of the analytics of all nodes. */
  readonly snapshots?: SnapshotStore | undefined
  /** Name of this node. Default: host name and process id. */
  readonly node?: string | undefined
  /** Further checks of `topicgate doctor`, such as of certificates. */
  readonly checks?: FurtherChecks | undefined
  /** Suggests limits for `GET /suggest`. Default: that is refused. */
  readonly suggestLimits?: LimitSuggester | undefined
  /** Addresses at which clients connect, such as `mqtt://127.0.0.1:1883`, for the state of the node. */
  readonly listeners?: readonly string[] | undefined
}

const OPTIONS: KnownOptions<AdminServerOptions> = {
  listen: true,
  tokens: true,
  hosts: true,
  broker: true,
  policy: true,
  analytics: true,
  alerts: true,
  durations: true,
  audit: true,
  snapshots: true,
  node: true,
  listeners: true,
  checks: true,
  suggestLimits: true,
}

/** Server of the admin API and the dashboard. */
export interface AdminServer {
  /** Addresses in use: `unix:PATH`, `http://HOST:PORT`. */
  readonly urls: readonly string[]
  /** Ends all requests and event streams, and stops listening. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const HEADERS_TIMEOUT_MS = 5_000
const REQUEST_TIMEOUT_MS = 10_000
const CHECK_MS = 1_000

/** Every resource of the admin API. */
export const ADMIN_ROUTES: readonly Route[] = [
  ...OVERVIEW_ROUTES,
  ...RULE_ROUTES,
  ...SENDER_ROUTES,
  ...EVENT_ROUTES,
  ...ENTRY_ROUTES,
  ...EXPLAIN_AND_DECIDE_ROUTES,
  ...RESET_ROUTES,
  ...CAPTURE_ROUTES,
  ...SUGGEST_ROUTES,
  ...POLICY_ROUTES,
]

/**
 * Starts the admin server of a gate: the API at `/api/v1`, the dashboard at `/ui/`. Throws PolicyError for an
 * invalid address, for a host and port without tokens, and for a token file that cannot be used. Rejects with the error of the
 * system if an address is in use.
 */
export async function adminServer(gate: Gate, options: AdminServerOptions): Promise<AdminServer> {
  checkOptionNames(options, OPTIONS)
  const { listen, broker, policy, durations, snapshots, node, listeners, checks, suggestLimits } = options
  const addresses = (typeof listen === 'string' ? [listen] : listen).map(parseAdminAddress)
  const tokens = openTokens(addresses, options, gate)
  const analytics = options.analytics ?? new Analytics({ gate })
  const alerts = options.alerts ?? new Alerts({ gate, analytics, durations, onAlert: () => {} })
  const audit = options.audit ?? keepAuditLog(gate)
  const state = new AdminState({
    gate,
    analytics,
    alerts,
    audit,
    durations,
    broker,
    policy,
    snapshots,
    node,
    listeners,
    checks,
    suggestLimits,
  })
  const app = createApp(state, ADMIN_ROUTES)
  const hosts = [
    ...(options.hosts ?? []),
    ...addresses.flatMap(address => (address.kind === 'tcp' ? [address.host] : [])),
  ]
  const allowedHosts = new AllowedHosts(hosts)
  const failures = new FailedTokens()
  const accessOf = ({ kind }: AdminAddress): ListenerAccess =>
    kind === 'unix' ? TRUSTED : { kind: 'tokens', tokens: tokens!, hosts: allowedHosts, failures }
  const servers: Server[] = []
  const urls: string[] = []
  const close = async (): Promise<void> => {
    state.close()
    await Promise.all(servers.map(closeServer))
    if (options.audit === undefined) await audit.close()
    if (options.alerts === undefined) alerts.close()
    if (options.analytics === undefined) analytics.close()
  }
  try {
    for (const address of addresses) {
      const access = accessOf(address)
      const server = createHttpServer((request, { incoming }) => app.fetch(request, { access, incoming }))
      await listenAt(server, address)
      server.on('error', err => gate.logger.error({ err }, 'the admin server reports an error'))
      servers.push(server)
      urls.push(formatAdminAddress(address, server))
    }
  } catch (error) {
    await close()
    throw error
  }
  return { urls, close, [Symbol.asyncDispose]: close }
}

/** Caller on a unix socket, which only the owner of the process can open. */
const TRUSTED: ListenerAccess = { kind: 'trusted', caller: { name: 'unix-socket', role: 'admin' } }

function openTokens(
  addresses: readonly AdminAddress[],
  { tokens }: AdminServerOptions,
  { logger }: Gate,
): TokenFile | undefined {
  if (tokens !== undefined) return new TokenFile(tokens, logger)
  if (addresses.every(({ kind }) => kind === 'unix')) return undefined
  const remedy = 'create one: topicgate token create NAME --role admin, and name its file'
  throw policyError('tokens', 'an admin server at a host and port needs tokens', remedy)
}

type Fetch = Parameters<typeof getRequestListener>[0]

function createHttpServer(fetch: Fetch): Server {
  const server = createServer(
    {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_MS,
      noDelay: true,
    },
    getRequestListener(fetch, { overrideGlobalObjects: false }),
  )
  limitSockets(server, {
    max: MAX_SIZES.adminSockets,
    maxPerAddress: MAX_SIZES.adminSocketsPerAddress,
    keyOf: addressKey,
  })
  return server
}

function closeServer(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
