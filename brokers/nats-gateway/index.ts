export {
  type NatsGateway,
  type NatsGatewayStats,
  natsGateway,
} from './nats-gateway.ts'
export type { NatsConnectingClient, NatsGatewayClient, NatsGatewayOptions } from './options.ts'
