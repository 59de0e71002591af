import type { Aedes, Client } from 'aedes'
import type { AedesDelivery, Deliver, DeliveryDone } from './aedes-internals.ts'
import type { BrokerContext } from './broker-context.ts'
import { composeHook } from './compose-hooks.ts'
import { AedesMessage } from './message.ts'

type UserHook = Aedes['authorizeForward']

/** The hook `authorizeForward` of a broker: passes decided deliveries, and decides those that cannot wait. */
export class DeliveryHook {
  readonly #context: BrokerContext
  isAttached = false
  /** True if a rule or middleware can refuse deliveries; otherwise the gate is not asked. */
  isLimited = false
  /** Calls the application's own hook. */
  callUserHook: (client: Client, packet: AedesDelivery) => AedesDelivery | null | undefined = (
    _client,
    packet,
  ) => packet
  /** Answer for the packet that is being passed to aedes; `ask` calls the application's own hook. */
  #answer: { readonly forward: AedesDelivery | null | undefined } | 'ask' | undefined

  constructor(context: BrokerContext) {
    this.#context = context
  }

  /**
   * Passes a packet to aedes, whose hook then answers `forward`, or calls the application's hook if it is undefined.
   */
  pass(deliver: Deliver, packet: AedesDelivery, done: DeliveryDone, forward?: AedesDelivery | null): void {
    this.#answer = forward === undefined ? 'ask' : { forward }
    try {
      deliver(packet, done)
    } finally {
      this.#answer = undefined
    }
  }

  /** Composes with the application's hook. Returns a function that detaches it. */
  attach(): () => void {
    const { broker, gate, settings } = this.#context
    const updateIsLimited = (): void => {
      this.isLimited = settings.limitDeliveries ?? gate.outcomes('deliver').size > 0
    }
    updateIsLimited()
    gate.on('policy', updateIsLimited)
    const detach = composeHook(broker, 'authorizeForward', composed => {
      const callUserHook = this.#callerOf(composed.userHook)
      this.callUserHook = callUserHook
      const authorizeForward = (client: Client, packet: AedesDelivery): AedesDelivery | null | undefined => {
        const answer = this.#answer
        if (composed.isRetired || answer === 'ask') return callUserHook(client, packet)
        if (answer !== undefined) return answer.forward
        const forward = callUserHook(client, packet)
        // A packet with an id comes from a session's queue, which is not limited.
        if (!forward || packet.messageId !== undefined) return forward
        return this.#isRefused(client, forward) ? null : forward
      }
      return authorizeForward as UserHook
    })
    this.isAttached = true
    return () => {
      this.isAttached = false
      gate.off('policy', updateIsLimited)
      detach()
    }
  }

  #callerOf(userHook: UserHook): DeliveryHook['callUserHook'] {
    const { broker } = this.#context
    return (client, packet) => (userHook as typeof this.callUserHook).call(broker, client, packet)
  }

  /**
   * Returns true if a rule refuses the delivery. Only for filters that the client subscribed to before the limiter was
   * attached, whose deliveries cannot wait.
   */
  #isRefused(client: Client, packet: AedesDelivery): boolean {
    const context = this.#context
    if (!this.isLimited || context.notices?.isNoticeTopic(packet.topic)) return false
    const message = new AedesMessage('deliver', context.connectionOf(client).sender, packet)
    const answer = context.guard.ask(message)
    if (answer instanceof Promise || answer.allowed) return false
    context.refusals.recordRefusal(message, answer)
    // aedes answers a refused delivery of QoS 1 or 2 to a session by removing a different packet from its queue.
    const isSpared = !client.clean && !!packet.qos
    if (isSpared) context.counters.deliveriesSpared++
    else context.counters.deliveriesRefused++
    return !isSpared
  }
}
