import type { Duplex } from 'node:stream'

/** Client side of an accepted socket, as far as the listener knows it. */
export interface ClientPeer {
  readonly ip: string
  readonly port?: number | undefined
  /** Present on TLS; `commonName` is that of the client certificate. */
  readonly tls?: { readonly authorized: boolean; readonly commonName?: string | undefined } | undefined
  /**
   * Starts TLS on the accepted socket, whose bytes nobody has read, and calls `onSecure` with the encrypted stream. NATS
   * servers do so behind their INFO.
   */
  readonly startTls?: ((onSecure: (stream: Duplex) => void) => void) | undefined
}
