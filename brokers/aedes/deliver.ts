import type { Aedes, Client } from 'aedes'
import type { Gate } from '../../src/index.ts'
import type { Connection } from './connection.ts'
import type { BrokerContext } from './context.ts'
import { composeHook } from './hooks.ts'
import { AedesMessage } from './message.ts'
import { type Delivery, Subscriber } from './subscriber.ts'

type Hook = Aedes['authorizeForward']
type Deliver = (packet: Delivery, done: (error?: Error | null) => void) => void

/** Subscribers whose bans are looked at in one turn of the event loop; and the least time between two such rounds. */
const BAN_SLICE = 500
const BAN_ROUND_MS = 100

/** All that subscribers of one broker share. */
export class Deliveries {
  readonly context: BrokerContext
  readonly broker: Aedes
  readonly gate: Gate
  isAttached = false
  /** Each delivery to each subscriber would be asked about: only if the answer may be no. */
  ruled = false
  hasBans = false
  /** Counts changes, so that subscribers find out by themselves whether they are banned. */
  banVersion = 0
  /** Asks the application's own hook. */
  askUsers: (client: Client, packet: Delivery) => Delivery | null | undefined = (_client, packet) => packet
  /** What is being handed to aedes now, and what its hook is to answer: `ask` for the application's own. */
  #passing: { readonly forward: Delivery | null | undefined } | 'ask' | undefined
  readonly #subscribers = new Set<Subscriber>()
  #endRound: (() => void) | undefined
  #roundedAtMs = Number.NEGATIVE_INFINITY
  #isRoundDue = false
  #isRounding = false

  constructor(context: BrokerContext) {
    this.context = context
    this.broker = context.broker
    this.gate = context.gate
  }

  /** Decides what is delivered to a client from now on; of filters it had subscribed to before, aedes' hook decides. */
  attach(client: Client, connection: Connection): void {
    if (client.closed) return
    const subscriber = new Subscriber(this, client, connection)
    this.#subscribers.add(subscriber)
    client.conn.once('close', () => {
      this.#subscribers.delete(subscriber)
      subscriber.leave()
    })
  }

  /** Hands a packet to aedes, whose hook answers `forward`, or asks the application without it. */
  pass(
    deliver: Deliver,
    packet: Delivery,
    done: (error?: Error | null) => void,
    forward?: Delivery | null,
  ): void {
    this.#passing = forward === undefined ? 'ask' : { forward }
    try {
      deliver(packet, done)
    } finally {
      this.#passing = undefined
    }
  }

  /** Composes with the hook of the application. Returns a function that takes it off again. */
  limit(): () => void {
    const { broker, gate, context } = this
    const look = (): void => {
      this.ruled = context.settings.limitDeliveries ?? gate.outcomes('deliver').size > 0
    }
    const onChange = (): void => {
      const hadBans = this.hasBans
      this.hasBans = gate.bans.size > 0
      this.banVersion++
      if (this.hasBans || hadBans) this.#scheduleRound()
    }
    look()
    onChange()
    gate.on('policy', look)
    gate.on('changed', onChange)
    const detach = composeHook(broker, 'authorizeForward', composed => {
      this.askUsers = (client, packet) =>
        composed.users.call(broker, client, packet as never) as Delivery | null
      return ((client: Client, packet: Delivery) => {
        const passing = this.#passing
        if (composed.retired || passing === 'ask') return this.askUsersOf(composed.users, client, packet)
        if (passing !== undefined) return passing.forward
        const forward = this.askUsersOf(composed.users, client, packet)
        // With an id it comes from a session's queue, which is not limited.
        if (!forward || packet.messageId !== undefined) return forward
        return this.#refuses(client, forward) ? null : forward
      }) as Hook
    })
    this.isAttached = true
    return () => {
      this.isAttached = false
      this.#endRound?.()
      gate.off('policy', look)
      gate.off('changed', onChange)
      detach()
    }
  }

  askUsersOf(users: Hook, client: Client, packet: Delivery): Delivery | null {
    return users.call(this.broker, client, packet as never) as Delivery | null
  }

  /** Answers for a filter the client had subscribed to before the limiter was attached: nothing can wait there. */
  #refuses(client: Client, packet: Delivery): boolean {
    const { context } = this
    if (!this.ruled || context.notices?.covers(packet.topic)) return false
    const message = new AedesMessage('deliver', context.connectionOf(client).sender, packet)
    const answer = context.guard.ask(message)
    if (answer instanceof Promise || answer.allowed) return false
    context.refusals.recordRefusal(message, answer)
    // aedes answers a refused delivery of QoS 1 or 2 to a session by taking another packet out of its queue.
    const isSpared = !client.clean && !!packet.qos
    if (isSpared) context.counters.deliveriesSpared++
    else context.counters.deliveriesRefused++
    return !isSpared
  }

  /** Looks at all subscribers soon, at most once in a while, a few at a time. */
  #scheduleRound(): void {
    if (this.#isRounding) {
      this.#isRoundDue = true
      return
    }
    if (this.#endRound !== undefined) return
    const { clock } = this.context.guard
    const waitMs = Math.max(0, this.#roundedAtMs + BAN_ROUND_MS - clock.now())
    if (waitMs > 0 && Number.isFinite(waitMs)) {
      this.#endRound = clock.after(waitMs, () => this.#beginRound())
      return
    }
    const immediate = setImmediate(() => this.#beginRound())
    this.#endRound = () => clearImmediate(immediate)
  }

  #beginRound(): void {
    this.#endRound = undefined
    this.#isRounding = true
    this.#isRoundDue = false
    this.#roundedAtMs = this.context.guard.clock.now()
    this.#round(this.#subscribers.values())
  }

  #round(left: Iterator<Subscriber>): void {
    for (let count = 0; count < BAN_SLICE; count++) {
      const next = left.next()
      if (next.done || !this.isAttached) {
        this.#isRounding = false
        if (this.#isRoundDue && this.isAttached) this.#scheduleRound()
        return
      }
      next.value.applyBan()
    }
    setImmediate(() => this.#round(left))
  }
}

/** Limits what is delivered to clients. Returns a function that takes it off again. */
export function limitDeliveries(context: BrokerContext): () => void {
  return context.deliveries.limit()
}
