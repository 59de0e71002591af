import type { Gate } from '../../src/gate/gate.ts'
import { findUnsupported } from '../../src/gateway/capabilities.ts'
import { createGateway, type Gateway, type GatewayStats } from '../../src/gateway/gateway.ts'
import { NatsGatewayConnection } from './gateway-connection.ts'
import { NatsGatewayContext } from './gateway-context.ts'
import type { NatsGatewayOptions } from './options.ts'

/** Name in errors. */
const NAME = 'the NATS gateway'

export type NatsGatewayStats = GatewayStats

/** Gateway between NATS clients and a server. */
export type NatsGateway = Gateway<NatsGatewayStats>

/**
 * Creates a gateway in front of a NATS server. It limits connects, publishes, subscriptions and deliveries, and forwards
 * all that passes as it came. Each client gets a connection of its own to the server. A refused request is answered with
 * error 429. Throws UnsupportedError if a rule uses an outcome that the gateway cannot enact, such as `retry`. A policy
 * loaded later with such a rule logs a warning, and its messages are dropped.
 */
export function natsGateway(gate: Gate, options: NatsGatewayOptions): NatsGateway {
  return createGateway(gate, {
    findUnsupported: () => [...findUnsupported(gate, NAME), ...findForeignRedirects(gate)],
    createContext: () => new NatsGatewayContext(gate, options),
    createConnection: (context, stream, peer, onClosed) =>
      new NatsGatewayConnection(context, stream, peer, onClosed),
    completeStats: stats => stats,
  })
}

/** Describes the rules that redirect to topics of MQTT. */
function findForeignRedirects(gate: Gate): readonly string[] {
  const rules = gate.outcomes('publish').get('redirect') ?? []
  return rules
    .filter(rule => gate.ruleOf(rule)?.exceeded.redirect?.dialect !== 'nats')
    .map(
      rule =>
        `${NAME} cannot enact "redirect" on publish, which "${rule}" asks for: its topic is an MQTT topic (write dialect: 'nats' in the rule)`,
    )
}
