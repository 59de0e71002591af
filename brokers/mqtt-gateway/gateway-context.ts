import type { Gate } from '../../src/gate/gate.ts'
import { GatewayContext } from '../../src/gateway/gateway-context.ts'
import { completeSettings, type MqttGatewayOptions, type MqttGatewaySettings } from './options.ts'
import { PACKET } from './packet-types.ts'

/** State shared by all connections of an MQTT gateway. */
export class MqttGatewayContext extends GatewayContext<MqttGatewaySettings> {
  /** Answers of the gateway to clients, and rewritten packets, by packet type. The key of an answer adds its code. */
  readonly answers = new Map<number, number>()
  readonly rewrites = new Map<number, number>()
  /** Wills removed from a CONNECT. */
  willsRefused = 0

  constructor(gate: Gate, options: MqttGatewayOptions) {
    super(gate, 'mqtt', completeSettings(options), options)
  }

  countAnswer(type: number, code: number): void {
    const key = (type << 8) | code
    this.answers.set(key, (this.answers.get(key) ?? 0) + 1)
  }

  countRewrite(type: number): void {
    this.rewrites.set(type, (this.rewrites.get(type) ?? 0) + 1)
  }
}

const NAMES = new Map<number, string>(Object.entries(PACKET).map(([name, type]) => [type, name]))

/** Returns the name of a packet type, such as `puback`. */
export function nameOfPacketType(type: number): string {
  return NAMES.get(type) ?? String(type)
}
