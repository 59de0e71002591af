import { createSender } from '../../src/chain/senders/sender-state.ts'
import { canonicalIp } from '../../src/conditions/cidr.ts'
import type { Sender } from '../../src/core/message.ts'
import type { ClientPeer } from '../../src/gateway/client-peer.ts'
import { identifyClient } from '../../src/gateway/gateway-options.ts'
import type { MqttGatewayContext } from './gateway-context.ts'
import type { GatewayClient } from './options.ts'
import type { Connect } from './read-connect.ts'

/** Identity of a client: a claim of its CONNECT, until the broker has accepted it. */
export class ClientIdentity {
  readonly client: GatewayClient
  /** Common name of the client certificate that replaces the username; undefined for none. */
  readonly commonName: string | undefined
  /** Sender as claimed by the CONNECT. */
  readonly claimed: Sender
  readonly #parts: Partial<Sender>

  constructor(context: MqttGatewayContext, connect: Connect, peer: ClientPeer) {
    const { settings, logger } = context
    const isNamed = settings.usernameFrom === 'cn' && peer.tls?.authorized === true
    this.commonName = isNamed ? peer.tls?.commonName : undefined
    this.client = {
      clientId: connect.clientId,
      username: this.commonName ?? connect.username,
      version: connect.version,
      peer,
    }
    this.#parts = {
      user: this.client.username || undefined,
      ip: canonicalIp(peer.ip),
      ...identifyClient(settings.identify, this.client, connect.clientId, logger),
    }
    this.claimed = createSender({ client: connect.clientId || undefined, ...this.#parts })
  }

  /** Returns the sender of the accepted client. `assignedClientId` is that of the CONNACK of MQTT 5. */
  accept(assignedClientId: string | undefined): Sender {
    if (this.client.clientId !== '') return this.claimed
    return createSender({ client: assignedClientId || this.#address, ...this.#parts })
  }

  /** Address of the socket. Before MQTT 5 the broker names no id that it gives a client without one. */
  get #address(): string {
    const { ip, port } = this.client.peer
    return port === undefined ? ip : `${ip}:${port}`
  }
}
