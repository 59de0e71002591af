import { TLSSocket } from 'node:tls'
import type { Client } from 'aedes'

/** Returns the common name (CN) of a client's valid certificate; undefined if it has none. */
export function certifiedUserOf(client: Client): string | undefined {
  const socket: unknown = client.req?.socket ?? client.conn
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined
  const name: unknown = socket.getPeerCertificate().subject?.CN
  return typeof name === 'string' && name !== '' ? name : undefined
}
