import type { Server, Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import type { TrustProxy } from '../../src/adapter/trusted-proxies.ts'
import { addressKey } from '../../src/conditions/address-network.ts'
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
  const silent = new Map<object, { readonly ip: string; readonly timer: NodeJS.Timeout }>()
  const perIp = new Map<string, number>()
  let refused = 0
  let expired = 0

  function accept(socket: Socket): void {
    const ip = addressKey(socket.remoteAddress ?? '')
    const ofIp = perIp.get(ip) ?? 0
    if (silent.size >= maxSilent || (ofIp >= maxSilentPerIp && !trust(socket.remoteAddress ?? ''))) {
      refused++
      socket.destroy()
      return
    }
    const timer = setTimeout(() => {
      expired++
      socket.destroy()
    }, silentMs)
    timer.unref()
    silent.set(socket, { ip, timer })
    perIp.set(ip, ofIp + 1)
    socket.once('close', () => forget(socket))
  }

  function forget(socket: object): void {
    const known = silent.get(socket)
    if (known === undefined) return
    clearTimeout(known.timer)
    silent.delete(socket)
    const ofIp = (perIp.get(known.ip) ?? 1) - 1
    if (ofIp === 0) perIp.delete(known.ip)
    else perIp.set(known.ip, ofIp)
  }

  const event = server instanceof TlsServer ? 'secureConnection' : 'connection'
  const removeListener = limits.onConnect(forget)
  server.prependListener(event, accept)
  return {
    stats: () => ({ silent: silent.size, refused, expired }),
    detach: () => {
      server.off(event, accept)
      removeListener()
      for (const socket of [...silent.keys()]) forget(socket)
    },
  }
}
