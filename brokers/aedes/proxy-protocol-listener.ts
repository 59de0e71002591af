import type { Socket } from 'node:net'
import type { Aedes } from 'aedes'
import { awaitProxyHeader, PROXY_HEADER_MS } from '../../src/broker-support/await-proxy-header.ts'
import type { TrustProxy } from '../../src/broker-support/trusted-proxies.ts'
import { policyError } from '../../src/core/errors.ts'
import { checkOptionNames, type KnownOptions } from '../../src/core/option-names.ts'
import { brokerInternals } from './aedes-internals.ts'

export interface BehindProxyOptions {
  /** Proxies whose PROXY header is believed; see `trustProxies`. */
  readonly trust: TrustProxy
  /** Maximum time for a proxy to send its header. Default: 5,000. */
  readonly headerTimeoutMs?: number | undefined
}

const OPTIONS: KnownOptions<BehindProxyOptions> = { trust: true, headerTimeoutMs: true }

/**
 * Returns a connection listener for a broker behind a load balancer that sends PROXY protocol headers, version 1 or 2:
 * `net.createServer(behindProxy(broker, { trust: trustProxies(['10.0.0.0/8']) }))`. The sender's address is then the
 * one in the header. Connections from other addresses are passed on unchanged, so a PROXY header from them is an MQTT
 * protocol error. A trusted proxy that sends a malformed header, or none in time, is disconnected.
 */
export function behindProxy(broker: Aedes, options: BehindProxyOptions): (socket: Socket) => void {
  checkOptionNames(options, OPTIONS)
  if (typeof options.trust !== 'function')
    throw policyError('trust', 'no proxy is trusted', "pass trustProxies(['10.0.0.0/8'])")
  const timeoutMs = options.headerTimeoutMs ?? PROXY_HEADER_MS
  return socket => {
    if (!options.trust(socket.remoteAddress ?? '')) {
      broker.handle(socket)
      return
    }
    awaitProxyHeader(socket, timeoutMs, ip => {
      // aedes reads the details of a connection from its request; a plain socket has none.
      const request = ip === undefined ? undefined : { connDetails: { ipAddress: ip }, headers: {}, socket }
      brokerInternals(broker).handle(socket, request)
    })
  }
}
