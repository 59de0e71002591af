import type { Aedes, Client } from 'aedes'
import type { Gate } from '../../src/index.ts'
import type { BrokerContext } from './broker-context.ts'
import { composeHook } from './compose-hooks.ts'
import type { Connection } from './connection.ts'
import { AedesMessage } from './message.ts'
import { type Delivery, Subscriber } from './subscriber.ts'

type Hook = Aedes['authorizeForward']
type Deliver = (packet: Delivery, done: (error?: Error | null) => void) => void

/** Subscribers whose bans are checked in one turn of the event loop, and the minimum time between two rounds. */
const BAN_SLICE = 500
const BAN_ROUND_MS = 100

/** State shared by all subscribers of one broker. */
export class Deliveries {
  readonly context: BrokerContext
  readonly broker: Aedes
  readonly gate: Gate
  isAttached = false
  /** True if a rule or middleware can refuse deliveries; otherwise the gate is not asked. */
  isLimited = false
  hasBans = false
  /** Incremented at each change, so that subscribers know when to look up their ban again. */
  banVersion = 0
  /** Calls the application's own hook. */
  callUserHook: (client: Client, packet: Delivery) => Delivery | null | undefined = (_client, packet) =>
    packet
  /** Answer for the packet that is being passed to aedes; `ask` calls the application's own hook. */
  #hookAnswer: { readonly forward: Delivery | null | undefined } | 'ask' | undefined
  readonly #subscribers = new Set<Subscriber>()
  #cancelRound: (() => void) | undefined
  #roundStartedAtMs = Number.NEGATIVE_INFINITY
  #isRoundDue = false
  #isRoundRunning = false

  constructor(context: BrokerContext) {
    this.context = context
    this.broker = context.broker
    this.gate = context.gate
  }

  /** Starts to decide about deliveries to a client. For filters it subscribed to before, aedes' hook decides. */
  attach(client: Client, connection: Connection): void {
    if (client.closed) return
    const subscriber = new Subscriber(this, client, connection)
    this.#subscribers.add(subscriber)
    client.conn.once('close', () => {
      this.#subscribers.delete(subscriber)
      subscriber.handleClose()
    })
  }

  /**
   * Passes a packet to aedes, whose hook then answers `forward`, or calls the application's hook if it is undefined.
   */
  pass(
    deliver: Deliver,
    packet: Delivery,
    done: (error?: Error | null) => void,
    forward?: Delivery | null,
  ): void {
    this.#hookAnswer = forward === undefined ? 'ask' : { forward }
    try {
      deliver(packet, done)
    } finally {
      this.#hookAnswer = undefined
    }
  }

  /** Composes with the application's hook. Returns a function that detaches it. */
  limit(): () => void {
    const { broker, gate, context } = this
    const updateIsLimited = (): void => {
      this.isLimited = context.settings.limitDeliveries ?? gate.outcomes('deliver').size > 0
    }
    const onChange = (): void => {
      const hadBans = this.hasBans
      this.hasBans = gate.bans.size > 0
      this.banVersion++
      if (this.hasBans || hadBans) this.#scheduleRound()
    }
    updateIsLimited()
    onChange()
    gate.on('policy', updateIsLimited)
    gate.on('changed', onChange)
    const detach = composeHook(broker, 'authorizeForward', composed => {
      this.callUserHook = (client, packet) =>
        composed.userHook.call(broker, client, packet as never) as Delivery | null
      return ((client: Client, packet: Delivery) => {
        const passing = this.#hookAnswer
        if (composed.isRetired || passing === 'ask') return this.callHook(composed.userHook, client, packet)
        if (passing !== undefined) return passing.forward
        const forward = this.callHook(composed.userHook, client, packet)
        // A packet with an id comes from a session's queue, which is not limited.
        if (!forward || packet.messageId !== undefined) return forward
        return this.#refuses(client, forward) ? null : forward
      }) as Hook
    })
    this.isAttached = true
    return () => {
      this.isAttached = false
      this.#cancelRound?.()
      gate.off('policy', updateIsLimited)
      gate.off('changed', onChange)
      detach()
    }
  }

  callHook(users: Hook, client: Client, packet: Delivery): Delivery | null {
    return users.call(this.broker, client, packet as never) as Delivery | null
  }

  /** Decides about a filter the client subscribed to before the limiter was attached: such a delivery cannot wait. */
  #refuses(client: Client, packet: Delivery): boolean {
    const { context } = this
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

  /** Checks the bans of all subscribers, in slices and at most once per interval. */
  #scheduleRound(): void {
    if (this.#isRoundRunning) {
      this.#isRoundDue = true
      return
    }
    if (this.#cancelRound !== undefined) return
    const { clock } = this.context.guard
    const waitMs = Math.max(0, this.#roundStartedAtMs + BAN_ROUND_MS - clock.now())
    if (waitMs > 0 && Number.isFinite(waitMs)) {
      this.#cancelRound = clock.after(waitMs, () => this.#startRound())
      return
    }
    const immediate = setImmediate(() => this.#startRound())
    this.#cancelRound = () => clearImmediate(immediate)
  }

  #startRound(): void {
    this.#cancelRound = undefined
    this.#isRoundRunning = true
    this.#isRoundDue = false
    this.#roundStartedAtMs = this.context.guard.clock.now()
    this.#checkBans(this.#subscribers.values())
  }

  #checkBans(left: Iterator<Subscriber>): void {
    for (let count = 0; count < BAN_SLICE; count++) {
      const next = left.next()
      if (next.done || !this.isAttached) {
        this.#isRoundRunning = false
        if (this.#isRoundDue && this.isAttached) this.#scheduleRound()
        return
      }
      next.value.applyBan()
    }
    setImmediate(() => this.#checkBans(left))
  }
}

/** Limits deliveries to clients. Returns a function that detaches it. */
export function limitDeliveries(context: BrokerContext): () => void {
  return context.deliveries.limit()
}
