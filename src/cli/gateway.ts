import { openBrokerAccess, reloadableFilesOf } from './access-files.ts'
import type { TlsFileOptions } from './listeners/tls-certificates.ts'
import { runServer, type ServerOptions } from './run-server.ts'
import { type GatewayServerOptions, startGateway } from './start-gateway.ts'
import type { Terminal } from './terminal.ts'
import { readUpstreamTls, type UpstreamAddress, type UpstreamTlsFiles } from './upstreams/upstream.ts'
import { UpstreamPool } from './upstreams/upstream-pool.ts'

export interface GatewayCommandOptions extends ServerOptions, GatewayServerOptions {
  readonly upstreams: readonly UpstreamAddress[]
  readonly upstreamTls: UpstreamTlsFiles
  readonly sendsProxyHeader: boolean
  readonly tls: TlsFileOptions | undefined
}

/** Runs a gateway in front of MQTT brokers until SIGINT or SIGTERM. Returns the exit code. */
export function runGateway(options: GatewayCommandOptions, terminal: Terminal): Promise<number> {
  return runServer(options, terminal, async logger => {
    const access = await openBrokerAccess({ tls: options.tls }, logger)
    const secureContext = options.upstreams.some(({ isTls }) => isTls)
      ? await readUpstreamTls(options.upstreamTls)
      : undefined
    const { upstreams: addresses, sendsProxyHeader } = options
    return {
      files: reloadableFilesOf(access),
      start: gate => {
        const pool = new UpstreamPool({ addresses, secureContext, sendsProxyHeader, logger })
        return startGateway(options, gate, pool, access.certificates, logger)
      },
    }
  })
}
