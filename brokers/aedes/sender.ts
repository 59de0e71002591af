import type { Client, ConnectPacket } from 'aedes'
import { canonicalIp } from '../../src/conditions/cidr.ts'
import type { Logger } from '../../src/core/logger.ts'
import type { Sender } from '../../src/core/message.ts'
import { createSender } from '../../src/index.ts'
import type { Settings } from './options.ts'
import { walkForwarded } from './trusted-proxies.ts'

/** Where aedes, or a PROXY header, puts the address of a connection; none of it is in aedes' types. */
interface Addressed {
  readonly connDetails?: { readonly ipAddress?: unknown } | null | undefined
}

/**
 * The sender of a connection: client id, username, address, and what the application adds. One object for the life of
 * the connection, on which limits keep their place.
 */
export function senderOf(
  client: Client,
  connect: ConnectPacket | undefined,
  settings: Settings,
  logger: Logger,
): Sender {
  const ip = readIp(client, settings)
  const id = client.id ?? connect?.clientId
  return createSender({
    ...(id ? { client: id } : {}),
    ...(connect?.username ? { user: connect.username } : {}),
    ...(ip === undefined ? {} : { ip }),
    ...identify(client, connect, settings, logger),
  })
}

/** PROXY header first, then X-Forwarded-For of a trusted proxy, then the socket's own. */
export function readIp(client: Client, settings: Settings): string | undefined {
  const named = (client as Addressed).connDetails?.ipAddress
  if (typeof named === 'string' && named !== '') return canonicalIp(named)
  const request = client.req
  if (request?.socket) {
    return walkForwarded(request.socket.remoteAddress, request.headers?.['x-forwarded-for'], settings.trust)
  }
  const remote = (client.conn as { remoteAddress?: unknown }).remoteAddress
  return typeof remote === 'string' ? canonicalIp(remote) : undefined
}

function identify(
  client: Client,
  connect: ConnectPacket | undefined,
  settings: Settings,
  logger: Logger,
): Partial<Sender> {
  if (settings.identify === undefined) return {}
  try {
    return settings.identify(client, connect) ?? {}
  } catch (err) {
    logger.error({ err, client: client.id }, 'identify threw, the sender stays as the broker knows it')
    return {}
  }
}
