import { CONNECT_TOPIC } from '../broker-support/connect-topic.ts'
import type { Decision } from '../core/decision.ts'
import { isPromise } from '../core/maybe-promise.ts'
import type { Dialect, Message, Operation, Sender } from '../core/message.ts'
import type { Gate } from '../gate/gate.ts'
import type { Guard } from '../guard/guard.ts'
import { canEnactOutcome } from './capabilities.ts'
import { peekDecision } from './peek-decision.ts'

/** A connect. Its sender is a claim until the broker has accepted it. */
class ConnectMessage implements Message {
  readonly sender: Sender
  readonly claimed: boolean
  readonly protocol: Dialect

  constructor(sender: Sender, claimed: boolean, protocol: Dialect) {
    this.sender = sender
    this.claimed = claimed
    this.protocol = protocol
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
}

/** Limits for the connects of a gateway's clients. */
export class ConnectRules {
  readonly #gate: Gate
  readonly #guard: Guard
  readonly #protocol: Dialect
  readonly #maxHoldMs: number
  #failures = 0

  /** `maxHoldMs` is the longest hold of a throttled connect. Why: clients stop waiting for the answer. */
  constructor(gate: Gate, guard: Guard, protocol: Dialect, maxHoldMs: number) {
    this.#gate = gate
    this.#guard = guard
    this.#protocol = protocol
    this.#maxHoldMs = maxHoldMs
  }

  /**
   * Asks the rules about a connect before the broker is asked, and calls `enact` with the answer. Charges nothing. Why:
   * the identity is a claim, and a stranger must not use up the limits of another client.
   */
  admit(sender: Sender, enact: (decision: Decision, message: Message) => void): void {
    const connect = new ConnectMessage(sender, true, this.#protocol)
    this.#guard.senderQueue().admit<Message>(connect, enact, message => {
      const answer = peekDecision(this.#gate, message)
      return isPromise(answer) ? answer.then(this.#shorten) : this.#shorten(answer)
    })
  }

  /**
   * Charges the limits for connects of a client that the broker has accepted, and calls `enact` with the answer. It may
   * be throttled, as others that were asked about at the same time may be charged first.
   */
  charge(sender: Sender, enact: (decision: Decision) => void): void {
    const connect = new ConnectMessage(sender, false, this.#protocol)
    this.#guard.senderQueue().admit<Message>(connect, enact, message => {
      const answer = this.#guard.ask(message)
      return isPromise(answer) ? answer.then(this.#shorten) : this.#shorten(answer)
    })
  }

  /**
   * Charges a connect that the broker has refused to its address, and to no client. Its other parts are unique, because
   * senders without a part share a counter, whose refusal would leave the address uncharged.
   */
  chargeFailure(ip: string | undefined): void {
    const unique = `failed connect ${this.#failures++}`
    const sender = { client: unique, user: unique, device: unique, apiKey: unique, ip }
    void this.#guard.ask(new ConnectMessage(sender, true, this.#protocol))
  }
  /** Makes a refusal of a wait that is too long, and of a queue: connects are never queued. */
  readonly #shorten = (decision: Decision): Decision => {
    const isTooLong = decision.outcome === 'throttle' && decision.retryAfterMs > this.#maxHoldMs
    const isUnsupported = !decision.allowed && !canEnactOutcome('connect', decision.outcome)
    return isTooLong || isUnsupported ? { ...decision, outcome: 'reject' } : decision
  }
}
