export {
  type ClientPeer,
  CONNECT_TOPIC,
  type GatewayClient,
  type MqttGateway,
  type MqttGatewayOptions,
  type MqttGatewayStats,
  mqttGateway,
  type PacketCount,
} from './mqtt-gateway/index.ts'
export {
  type NatsConnectingClient,
  type NatsGateway,
  type NatsGatewayClient,
  type NatsGatewayOptions,
  type NatsGatewayStats,
  natsGateway,
} from './nats-gateway/index.ts'
