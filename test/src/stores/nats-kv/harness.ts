import { connect as connectNew } from '@nats-io/transport-node'
import { connect as connectOld } from 'nats'
import type { NatsConnection } from '../../../../src/stores/nats-kv/index.ts'

/** Both generations of the client. */
export const CLIENTS: Readonly<Record<string, (url: string) => Promise<NatsConnection>>> = {
  nats: url => connectOld(optionsOf(url)),
  '@nats-io/transport-node': url => connectNew(optionsOf(url)),
}

/** Calls the JetStream API of a server. */
export async function askApi<T>(connection: NatsConnection, call: string, body?: object): Promise<T> {
  const payload = body === undefined ? '' : JSON.stringify(body)
  const { data } = await connection.request(`$JS.API.${call}`, payload, { timeout: 5_000 })
  return JSON.parse(new TextDecoder().decode(data)) as T
}

/** `nats://[user:password@]host:port`. */
function optionsOf(url: string): { servers: string; user?: string; pass?: string } {
  const { host, username, password } = new URL(url)
  return username === '' ? { servers: url } : { servers: host, user: username, pass: password }
}
