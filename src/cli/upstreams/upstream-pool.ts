import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import type { ServerCheck } from '../../admin/index.ts'
import { encodeProxyHeader, LOCAL_PROXY_HEADER } from '../../broker-support/encode-proxy-header.ts'
import { canonicalIp } from '../../conditions/cidr.ts'
import type { Dialect, Logger, MetricFamily } from '../../index.ts'
import { ConnectQueueTimeoutError, PendingConnects } from './pending-connects.ts'
import { connectToUpstream, probeBroker, type UpstreamAddress } from './upstream.ts'
import type { UpstreamTls } from './upstream-tls.ts'

const CHECK_EVERY_MS = 5_000
const CONNECT_MS = 5_000
/** Maximum wait of a client for its turn, as that of a throttled connect. */
const TURN_MS = 10_000

/** Below the backlog of Mosquitto, which is 100. */
export const DEFAULT_MAX_PENDING_CONNECTS = 64

export interface UpstreamPoolOptions {
  /** At least one, and all of the same protocol. */
  readonly addresses: readonly UpstreamAddress[]
  /** For brokers over TLS. */
  readonly tls: UpstreamTls | undefined
  /** True if TLS begins before the INFO of NATS servers. Default: false. */
  readonly isTlsFirst?: boolean | undefined
  /** True if brokers get a PROXY header, version 2, with the address of the client. */
  readonly sendsProxyHeader: boolean
  /** Connections to one broker that it has not answered yet. Default: 64. */
  readonly maxPendingConnects?: number | undefined
  readonly logger: Logger
  /** Default: 5,000. */
  readonly checkEveryMs?: number | undefined
}

/** Client whose connection is forwarded. */
export interface ForwardedClient {
  /** Empty if it has none. */
  readonly clientId: string
  readonly ip: string
  readonly port: number | undefined
  /** Returns true if the client has closed its connection. */
  readonly isGone: () => boolean
}

interface Upstream extends UpstreamAddress {
  readonly pending: PendingConnects
  isHealthy: boolean
}

/**
 * The brokers behind a gateway. A client id always gets the same one among the healthy ones (rendezvous hashing), so
 * that its session is there; if one fails, only its own clients move. A broker is unhealthy from a failed connection on, until
 * a check connects to it again. Each gets a limited number of connections at once. Why: a broker that is merely busy must not
 * look unreachable because the system drops connections behind its full backlog.
 */
export class UpstreamPool {
  readonly #options: UpstreamPoolOptions
  readonly #upstreams: readonly Upstream[]
  readonly #timer: NodeJS.Timeout

  constructor(options: UpstreamPoolOptions) {
    this.#options = options
    const { maxPendingConnects = DEFAULT_MAX_PENDING_CONNECTS } = options
    this.#upstreams = options.addresses.map(address => ({
      ...address,
      pending: new PendingConnects({ max: maxPendingConnects, maxAnswerMs: CONNECT_MS, maxQueueMs: TURN_MS }),
      isHealthy: true,
    }))
    this.#timer = setInterval(() => void this.check(), options.checkEveryMs ?? CHECK_EVERY_MS)
    this.#timer.unref()
  }

  /** Protocol of all brokers. */
  get protocol(): Dialect {
    return this.#upstreams[0]!.protocol
  }

  /** True if at least one broker is healthy. */
  get isHealthy(): boolean {
    return this.#upstreams.some(({ isHealthy }) => isHealthy)
  }

  /** Connects to the broker of a client, or to the next healthy one. Rejects with the error of the last attempt. */
  async connect(client: ForwardedClient): Promise<Socket> {
    const name = client.clientId === '' ? `${client.ip} ${client.port}` : client.clientId
    const ranked = rank(name, this.#upstreams)
    const healthy = ranked.filter(({ isHealthy }) => isHealthy)
    let failure: unknown
    // A broker may be back before a check has noticed it.
    for (const upstream of healthy.length > 0 ? healthy : ranked) {
      try {
        return await upstream.pending.connect(client, () => this.#openFor(client, upstream))
      } catch (error) {
        // Another broker would not have the session of the client.
        if (error instanceof ConnectQueueTimeoutError || client.isGone()) throw error
        failure = error
      }
    }
    throw failure
  }

  /** Connects to each broker, to know whether it is healthy. */
  async check(): Promise<void> {
    await Promise.all(
      this.#upstreams.map(async upstream => {
        try {
          const socket = await this.#open(upstream, () => LOCAL_PROXY_HEADER)
          socket.on('error', () => {})
          socket.destroy()
          this.#setHealthy(upstream, true)
        } catch (error) {
          this.#setHealthy(upstream, false, error)
        }
      }),
    )
  }

  /** Checks that each broker answers, for `topicgate doctor`. */
  runChecks(): Promise<readonly ServerCheck[]> {
    return Promise.all(
      this.#upstreams.map(async (upstream): Promise<ServerCheck> => {
        const name = 'upstream'
        try {
          const socket = await this.#open(upstream, () => LOCAL_PROXY_HEADER)
          const broker = await probeBroker(socket, upstream.protocol)
          return { name, result: 'ok', detail: `${upstream.name} answers as ${broker}` }
        } catch (error) {
          const problem = error instanceof Error ? error.message : String(error)
          return { name, result: 'failed', detail: `${upstream.name}: ${problem}` }
        }
      }),
    )
  }

  collectMetrics(): readonly MetricFamily[] {
    const family = (
      type: MetricFamily['type'],
      name: string,
      help: string,
      read: (upstream: Upstream) => number,
    ): MetricFamily => ({
      name: `topicgate_gateway_upstream_${name}`,
      help,
      type,
      samples: this.#upstreams.map(upstream => ({
        labels: { upstream: upstream.name },
        value: read(upstream),
      })),
    })
    return [
      family('gauge', 'healthy', '1 if the last connection to a broker was successful.', ({ isHealthy }) =>
        isHealthy ? 1 : 0,
      ),
      family(
        'gauge',
        'pending_connects',
        'Connections that a broker has not answered yet.',
        ({ pending }) => pending.count,
      ),
      family(
        'gauge',
        'waiting_connects',
        'Clients that wait because a broker has too many pending connections.',
        ({ pending }) => pending.waiting,
      ),
      family(
        'counter',
        'wait_timeouts_total',
        'Clients refused because they waited too long for a connection to a broker.',
        ({ pending }) => pending.timeouts,
      ),
    ]
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** Connects to a broker for a client. Rejects if the broker has failed since and there is another one. */
  async #openFor(client: ForwardedClient, upstream: Upstream): Promise<Socket> {
    if (!upstream.isHealthy && this.isHealthy) throw new Error(`${upstream.name} is not reachable`)
    try {
      const socket = await this.#open(upstream, socket => headerOf(client, socket))
      this.#setHealthy(upstream, true)
      return socket
    } catch (error) {
      this.#setHealthy(upstream, false, error)
      throw error
    }
  }

  #open(upstream: Upstream, headerFor: (socket: Socket) => Buffer): Promise<Socket> {
    const { tls, isTlsFirst = false, sendsProxyHeader } = this.#options
    return connectToUpstream(upstream, {
      secureContext: tls?.context,
      header: sendsProxyHeader ? headerFor : undefined,
      isTlsFirst,
      timeoutMs: CONNECT_MS,
    })
  }

  #setHealthy(upstream: Upstream, isHealthy: boolean, err?: unknown): void {
    if (upstream.isHealthy === isHealthy) return
    upstream.isHealthy = isHealthy
    const { logger } = this.#options
    if (isHealthy) logger.info({ upstream: upstream.name }, 'a broker is reachable again')
    else logger.warn({ upstream: upstream.name, err }, 'a broker is not reachable')
  }
}

/** Sorts brokers by a hash of client and broker: the first is that of the client. */
function rank(client: string, upstreams: readonly Upstream[]): readonly Upstream[] {
  if (upstreams.length === 1) return upstreams
  const scored = upstreams.map(upstream => {
    const hash = createHash('sha1').update(`${upstream.name}\n${client}`).digest()
    return { upstream, score: hash.readUIntBE(0, 6) }
  })
  return scored.sort((a, b) => b.score - a.score).map(({ upstream }) => upstream)
}

function headerOf({ ip, port = 0 }: ForwardedClient, socket: Socket): Buffer {
  const destination = { ip: canonicalIp(socket.remoteAddress ?? ''), port: socket.remotePort ?? 0 }
  return ip === '' ? LOCAL_PROXY_HEADER : encodeProxyHeader({ ip, port }, destination)
}
