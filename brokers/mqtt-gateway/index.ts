export { CONNECT_TOPIC } from '../../src/broker-support/connect-topic.ts'
export type { ClientPeer } from '../../src/gateway/client-peer.ts'
export {
  type MqttGateway,
  type MqttGatewayStats,
  mqttGateway,
  type PacketCount,
} from './mqtt-gateway.ts'
export type { GatewayClient, MqttGatewayOptions } from './options.ts'
