export { CONNECT_TOPIC } from '../../src/adapter/connect-topic.ts'
export {
  type MqttGateway,
  type MqttGatewayStats,
  mqttGateway,
  type PacketCount,
} from './mqtt-gateway.ts'
export type { ClientPeer, GatewayClient, MqttGatewayOptions } from './options.ts'
