import type { Decision } from '../../src/core/decision.ts'
import { isPromise } from '../../src/core/maybe-promise.ts'
import type { MaybePromise, Message, Operation, Sender } from '../../src/core/message.ts'
import { PayloadReader } from '../../src/core/parse-payload.ts'
import { peekDecision } from '../../src/gateway/peek-decision.ts'
import type { MqttGatewayContext } from './gateway-context.ts'
import type { WillFields } from './read-connect.ts'

/** The will of a CONNECT, decided as a publish. */
class WillMessage implements Message {
  readonly sender: Sender
  readonly fields: WillFields

  constructor(sender: Sender, fields: WillFields) {
    this.sender = sender
    this.fields = fields
  }

  get topic(): string {
    return this.fields.topic
  }

  get on(): Operation {
    return 'publish'
  }

  get size(): number {
    return this.fields.payload.length
  }

  get qos(): 0 | 1 | 2 {
    return this.fields.qos
  }

  get retain(): boolean {
    return this.fields.retain
  }

  get will(): boolean {
    return true
  }

  get protocol(): 'mqtt' {
    return 'mqtt'
  }

  payload(): unknown {
    return new PayloadReader().parse(this.fields.payload, this.size)
  }

  bytes(): Uint8Array {
    return this.fields.payload
  }
}

/** Returns the refusal that a will would get; undefined if it may pass. Charges nothing. */
export function peekWill(
  context: MqttGatewayContext,
  sender: Sender,
  will: WillFields,
): MaybePromise<Decision | undefined> {
  const answer = peekDecision(context.gate, new WillMessage(sender, will))
  const toRefusal = (decision: Decision): Decision | undefined => (decision.allowed ? undefined : decision)
  return isPromise(answer) ? answer.then(toRefusal) : toRefusal(answer)
}

/** Charges the limits of a will whose client the broker has accepted. */
export function chargeWill(context: MqttGatewayContext, sender: Sender, will: WillFields): void {
  void context.guard.ask(new WillMessage(sender, will))
}
