import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Limits of the connections of an HTTP server. */
export interface SocketLimits {
  readonly max: number
  readonly maxPerAddress: number
  /** Returns what counts as one address, such as an IPv6 network. */
  keyOf(ip: string): string
}

/**
 * Limits the connections of an HTTP server in total and per address. A new one replaces the oldest idle connection of
 * the address with the most, so that idle sockets block no requests.
 */
export function limitSockets(server: Server, { max, maxPerAddress, keyOf }: SocketLimits): void {
  const all = new Map<string, Set<Socket>>()
  const ips = new Map<Socket, string>()
  const busy = new WeakSet<Socket>()
  let count = 0
  server.on('connection', socket => {
    const ip = keyOf(socket.remoteAddress ?? '')
    const own = all.get(ip) ?? new Set()
    const candidates = own.size >= maxPerAddress ? own : count >= max ? largest(all) : undefined
    if (candidates !== undefined) {
      const idle = [...candidates].find(other => !busy.has(other) && !other.destroyed)
      if (idle === undefined) {
        socket.destroy()
        return
      }
      forget(idle)
      idle.destroy()
    }
    own.add(socket)
    all.set(ip, own)
    count++
    ips.set(socket, ip)
    socket.once('close', () => forget(socket))
  })
  const forget = (socket: Socket): void => {
    const ip = ips.get(socket)
    if (ip === undefined) return
    ips.delete(socket)
    count--
    const own = all.get(ip)
    own?.delete(socket)
    if (own?.size === 0) all.delete(ip)
  }
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    busy.add(socket)
    response.once('close', () => busy.delete(socket))
  })
}

function largest(all: ReadonlyMap<string, ReadonlySet<Socket>>): ReadonlySet<Socket> {
  return [...all.values()].reduce((most, each) => (each.size > most.size ? each : most))
}
