/** Client side of an accepted socket, as far as the listener knows it. */
export interface ClientPeer {
  readonly ip: string
  readonly port?: number | undefined
  /** Present on TLS; `commonName` is that of the client certificate. */
  readonly tls?: { readonly authorized: boolean; readonly commonName?: string | undefined } | undefined
}
