import type { Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { addressKey } from '../../conditions/address-network.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { TlsCertificates } from './tls-certificates.ts'

interface Handshake {
  readonly tcp: Socket
  /** Key of the address it counts for; undefined if many clients share it. */
  readonly key: string | undefined
  readonly done: (socket: TLSSocket) => void
}

/** Does the TLS handshakes of accepted sockets: a bounded number at the same time for each address. */
export class TlsHandshakes {
  readonly #server: Server
  /** By the addresses and ports of their sockets, because a TLS server does not say whose handshake is done. */
  readonly #handshakes = new Map<string, Handshake>()
  readonly #perAddress = new Map<string, number>()
  #refused = 0

  /** `onSecure` is called with each encrypted socket and its TCP socket. */
  constructor(certificates: TlsCertificates, onSecure: (socket: TLSSocket, tcp: Socket) => void) {
    this.#server = createServer(certificates.serverOptions)
    certificates.attach(this.#server)
    this.#server.on('secureConnection', socket => {
      const handshake = this.#end(endpointsOf(socket))
      if (handshake === undefined) {
        socket.destroy()
        return
      }
      onSecure(socket, handshake.tcp)
      handshake.done(socket)
    })
  }

  get refused(): number {
    return this.#refused
  }

  /** Starts a handshake; closes the socket if its address has too many. `ip` is undefined if many clients share it. */
  start(tcp: Socket, ip: string | undefined, done: (socket: TLSSocket) => void): void {
    const key = ip === undefined ? undefined : addressKey(ip)
    const count = key === undefined ? 0 : (this.#perAddress.get(key) ?? 0)
    if (count >= MAX_SIZES.tlsHandshakesPerAddress) {
      this.#refused++
      tcp.destroy()
      return
    }
    const endpoints = endpointsOf(tcp)
    this.#handshakes.set(endpoints, { tcp, key, done })
    if (key !== undefined) this.#perAddress.set(key, count + 1)
    tcp.once('close', () => this.#end(endpoints))
    this.#server.emit('connection', tcp)
  }

  #end(endpoints: string): Handshake | undefined {
    const handshake = this.#handshakes.get(endpoints)
    if (handshake === undefined) return undefined
    this.#handshakes.delete(endpoints)
    const { key } = handshake
    if (key === undefined) return handshake
    const count = (this.#perAddress.get(key) ?? 1) - 1
    if (count === 0) this.#perAddress.delete(key)
    else this.#perAddress.set(key, count)
    return handshake
  }
}

function endpointsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
}
