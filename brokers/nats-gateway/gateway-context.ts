import type { Gate } from '../../src/gate/gate.ts'
import { GatewayContext } from '../../src/gateway/gateway-context.ts'
import { ExemptSubjects } from './exempt-subjects.ts'
import { completeSettings, type NatsGatewayOptions, type NatsGatewaySettings } from './options.ts'

const MAX_HOLD_MS = 60_000

/** State shared by all connections of a NATS gateway. */
export class NatsGatewayContext extends GatewayContext<NatsGatewaySettings> {
  readonly exempt: ExemptSubjects

  constructor(gate: Gate, options: NatsGatewayOptions) {
    const settings = completeSettings(options)
    super(gate, 'nats', settings, { ...options, maxHoldMs: options.maxHoldMs ?? MAX_HOLD_MS })
    this.exempt = new ExemptSubjects(settings.exempt, settings.inboxPrefixes)
  }
}
