import { openBrokerAccess, reloadableFilesOf } from '../access/access-files.ts'
import type { TlsFileOptions } from '../listeners/tls-certificates.ts'
import type { ServerOptions } from '../server/server-types.ts'
import type { Terminal } from '../terminal/terminal.ts'
import type { UpstreamAddress } from '../upstreams/upstream.ts'
import { DEFAULT_MAX_PENDING_CONNECTS, UpstreamPool } from '../upstreams/upstream-pool.ts'
import { UpstreamTls, type UpstreamTlsFiles } from '../upstreams/upstream-tls.ts'
import { runServer } from '../workers/run-server.ts'
import { type GatewayServerOptions, startGateway } from './start-gateway.ts'

export interface GatewayCommandOptions extends ServerOptions, GatewayServerOptions {
  readonly upstreams: readonly UpstreamAddress[]
  readonly upstreamTls: UpstreamTlsFiles
  /** True if TLS begins before the INFO of NATS servers. */
  readonly isUpstreamTlsFirst: boolean
  readonly sendsProxyHeader: boolean
  /** Connections to one broker that it has not answered yet, of all workers together. Default: 64. */
  readonly maxPendingConnects: number | undefined
  readonly tls: TlsFileOptions | undefined
}

/** Runs a gateway in front of MQTT brokers or NATS servers until SIGINT or SIGTERM. Returns the exit code. */
export function runGateway(options: GatewayCommandOptions, terminal: Terminal): Promise<number> {
  return runServer(options, terminal, async logger => {
    const access = await openBrokerAccess({ tls: options.tls }, logger)
    const tls = options.upstreams.some(({ isTls }) => isTls)
      ? await UpstreamTls.open(options.upstreamTls, logger)
      : undefined
    const brokerFiles =
      tls === undefined || tls.files.length === 0
        ? []
        : [{ name: 'certificate for brokers', files: tls.files, reload: () => tls.reload() }]
    const { upstreams: addresses, isUpstreamTlsFirst: isTlsFirst, sendsProxyHeader, workers = 1 } = options
    const maxPendingConnects = Math.ceil(
      (options.maxPendingConnects ?? DEFAULT_MAX_PENDING_CONNECTS) / workers,
    )
    return {
      files: [...reloadableFilesOf(access), ...brokerFiles],
      start: gate => {
        const pool = new UpstreamPool({
          addresses,
          tls,
          isTlsFirst,
          sendsProxyHeader,
          maxPendingConnects,
          logger,
        })
        return startGateway(options, gate, pool, access.certificates, logger)
      },
    }
  })
}
