import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Client } from 'aedes'

/** Certificate of a client. */
export interface ClientCertificate {
  /** True if a known authority has issued it. */
  readonly authorized: boolean
  readonly commonName: string | undefined
}

/** Returns the certificate of a client; undefined for a socket without TLS. */
export function certificateOf(socket: Socket): ClientCertificate | undefined {
  if (!(socket instanceof TLSSocket)) return undefined
  const name: unknown = socket.getPeerCertificate().subject?.CN
  return {
    authorized: socket.authorized,
    commonName: typeof name === 'string' && name !== '' ? name : undefined,
  }
}

/** Returns the common name (CN) of a client's valid certificate; undefined if it has none. */
export function certifiedUserOf(client: Client): string | undefined {
  const certificate = certificateOf((client.req?.socket ?? client.conn) as Socket)
  return certificate?.authorized ? certificate.commonName : undefined
}
