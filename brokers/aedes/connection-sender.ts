import type { Client, ConnectPacket } from 'aedes'
import { findForwardedIp, type TrustProxy } from '../../src/broker-support/trusted-proxies.ts'
import { createSender } from '../../src/chain/senders/sender-state.ts'
import { canonicalIp } from '../../src/conditions/cidr.ts'
import type { Logger } from '../../src/core/logger.ts'
import type { Sender } from '../../src/core/message.ts'
import { aedesClientInternals } from './aedes-internals.ts'
import type { LimitBrokerSettings } from './options.ts'

/**
 * Returns the sender of a connection: client id, username, address and fields from the application. One object for the
 * life of the connection, to which limits attach their state.
 */
export function createConnectionSender(
  client: Client,
  connect: ConnectPacket | undefined,
  settings: LimitBrokerSettings,
  logger: Logger,
): Sender {
  const ip = readClientIp(client, settings.trust)
  const id = client.id ?? connect?.clientId
  return createSender({
    client: id || undefined,
    user: connect?.username || undefined,
    ip,
    ...identify(client, connect, settings, logger),
  })
}

/** Returns the address from the PROXY header, else from X-Forwarded-For of a trusted proxy, else the socket's own. */
export function readClientIp(client: Client, trust: TrustProxy): string | undefined {
  const named = aedesClientInternals(client).connDetails?.ipAddress
  if (typeof named === 'string' && named !== '') return canonicalIp(named)
  const request = client.req
  if (request?.socket) {
    return findForwardedIp(request.socket.remoteAddress, request.headers?.['x-forwarded-for'], trust)
  }
  const remote = (client.conn as { remoteAddress?: unknown }).remoteAddress
  return typeof remote === 'string' ? canonicalIp(remote) : undefined
}

function identify(
  client: Client,
  connect: ConnectPacket | undefined,
  settings: LimitBrokerSettings,
  logger: Logger,
): Partial<Sender> {
  if (settings.identify === undefined) return {}
  try {
    return settings.identify(client, connect) ?? {}
  } catch (err) {
    logger.error({ err, client: client.id }, 'identify threw an error, the sender is used without its fields')
    return {}
  }
}
