import { CONNECT_TOPIC } from '../../src/adapter/connect-topic.ts'
import type { Decision } from '../../src/core/decision.ts'
import { isPromise } from '../../src/core/maybe-promise.ts'
import type { MaybePromise, Message, Operation, Sender } from '../../src/core/message.ts'
import { PayloadReader } from '../../src/core/parse-payload.ts'
import { peekDecision } from '../../src/gateway/peek-decision.ts'
import { canEnactOutcome } from './capabilities.ts'
import type { GatewayContext } from './gateway-context.ts'
import type { WillFields } from './read-connect.ts'

/** A connect. Its sender is a claim until the broker has accepted it. */
class ConnectMessage implements Message {
  readonly sender: Sender
  readonly claimed: boolean

  constructor(sender: Sender, claimed: boolean) {
    this.sender = sender
    this.claimed = claimed
  }

  get topic(): string {
    return CONNECT_TOPIC
  }

  get on(): Operation {
    return 'connect'
  }

  get size(): number {
    return 0
  }

  get protocol(): 'mqtt' {
    return 'mqtt'
  }
}

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

/**
 * Asks the rules about a connect before the broker is asked, and calls `enact` with the answer. Charges nothing. Why:
 * the client id is a claim, and a stranger must not use up the limits of another client.
 */
export function admitConnect(
  context: GatewayContext,
  sender: Sender,
  enact: (decision: Decision, message: Message) => void,
): void {
  const { guard, settings } = context
  // A client stops waiting for its CONNACK after a while, so a wait that long is a refusal. Connects are never queued.
  const shorten = (decision: Decision): Decision => {
    const isTooLong = decision.outcome === 'throttle' && decision.retryAfterMs > settings.maxConnectHoldMs
    const isUnsupported = !decision.allowed && !canEnactOutcome('connect', decision.outcome)
    return isTooLong || isUnsupported ? { ...decision, outcome: 'reject' } : decision
  }
  guard.senderQueue().admit<Message>(new ConnectMessage(sender, true), enact, message => {
    const answer = peekDecision(context.gate, message)
    return isPromise(answer) ? answer.then(shorten) : shorten(answer)
  })
}

/** Charges the limits for connects of a client that the broker has accepted. */
export function chargeConnect(context: GatewayContext, sender: Sender): MaybePromise<Decision> {
  return context.guard.ask(new ConnectMessage(sender, false))
}

/** Charges a connect that the broker has refused to its address, and nothing else. */
export function chargeFailedConnect(context: GatewayContext, ip: string | undefined): void {
  void context.guard.ask(new ConnectMessage({ ip }, true))
}

/** Returns the refusal that a will would get; undefined if it may pass. Charges nothing. */
export function peekWill(
  context: GatewayContext,
  sender: Sender,
  will: WillFields,
): MaybePromise<Decision | undefined> {
  const answer = peekDecision(context.gate, new WillMessage(sender, will))
  const toRefusal = (decision: Decision): Decision | undefined => (decision.allowed ? undefined : decision)
  return isPromise(answer) ? answer.then(toRefusal) : toRefusal(answer)
}

/** Charges the limits of a will whose client the broker has accepted. */
export function chargeWill(context: GatewayContext, sender: Sender, will: WillFields): void {
  void context.guard.ask(new WillMessage(sender, will))
}
