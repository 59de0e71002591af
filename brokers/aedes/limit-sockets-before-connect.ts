import type { Server, Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import { SilentSockets } from '../../src/broker-support/silent-sockets.ts'
import type { TrustProxy } from '../../src/broker-support/trusted-proxies.ts'
import { checkOptionNames, type KnownOptions } from '../../src/core/option-names.ts'
import type { BrokerLimiter } from './limit-broker.ts'

export interface LimitServerOptions {
  /** Maximum time for a socket to send its CONNECT. Default: 10,000. */
  readonly silentMs?: number | undefined
  /** Maximum sockets without a CONNECT, in total and per address. Default: 1,000 and 50. */
  readonly maxSilent?: number | undefined
  readonly maxSilentPerIp?: number | undefined
  /** Proxies, whose addresses are shared by many clients and therefore not limited by address. */
  readonly trust?: TrustProxy | undefined
}

const OPTIONS: KnownOptions<LimitServerOptions> = {
  silentMs: true,
  maxSilent: true,
  maxSilentPerIp: true,
  trust: true,
}

export interface ServerLimiter {
  stats(): { readonly silent: number; readonly refused: number; readonly expired: number }
  detach(): void
}

/**
 * Limits the sockets of a net, tls, http or https server that have not sent a CONNECT, as aedes calls no hook for them.
 * To limit the rate of connects, write a rule `on: connect`.
 */
export function limitServer(
  server: Server,
  limits: BrokerLimiter,
  options: LimitServerOptions = {},
): ServerLimiter {
  checkOptionNames(options, OPTIONS)
  const { silentMs = 10_000, maxSilent = 1_000, maxSilentPerIp = 50, trust = () => false } = options
  const silent = new SilentSockets({ silentMs, maxSilent, maxSilentPerIp })

  function accept(socket: Socket): void {
    const ip = socket.remoteAddress ?? ''
    silent.add(socket, trust(ip) ? undefined : ip)
  }

  const event = server instanceof TlsServer ? 'secureConnection' : 'connection'
  const removeListener = limits.onConnect(socket => silent.remove(socket))
  server.prependListener(event, accept)
  return {
    stats: () => silent.stats,
    detach: () => {
      server.off(event, accept)
      removeListener()
      silent.clear()
    },
  }
}
