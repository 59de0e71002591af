import type { BrokerContext, ConnectionListener } from './broker-context.ts'
import { type BanListVersion, ClientDeliveries } from './client-deliveries.ts'
import { DeliveryHook } from './delivery-hook.ts'

/** Subscribers whose bans are checked in one turn of the event loop, and the minimum time between two rounds. */
const BAN_SLICE = 500
const BAN_ROUND_MS = 100

/** Limits deliveries to clients. Returns a function that detaches it. */
export function limitDeliveries(context: BrokerContext): () => void {
  const hook = new DeliveryHook(context)
  const bans = new SubscriberBans(context)
  /** Decides about deliveries from now on. For filters that the client subscribed to before, the hook decides. */
  const addSubscriber: ConnectionListener = (client, connection) => {
    if (client.closed) return
    const subscriber = new ClientDeliveries(context, hook, bans, client, connection)
    bans.subscribers.add(subscriber)
    client.conn.once('close', () => {
      bans.subscribers.delete(subscriber)
      subscriber.handleClose()
    })
  }
  const detachBans = bans.attach()
  const detachHook = hook.attach()
  context.openListeners.add(addSubscriber)
  return () => {
    context.openListeners.delete(addSubscriber)
    detachBans()
    detachHook()
  }
}

/** Applies changed bans to the subscribers of a broker. */
class SubscriberBans implements BanListVersion {
  readonly #context: BrokerContext
  readonly subscribers = new Set<ClientDeliveries>()
  hasBans = false
  version = 0
  #isAttached = true
  #cancelRound: (() => void) | undefined
  #roundStartedAtMs = Number.NEGATIVE_INFINITY
  #isRoundDue = false
  #isRoundRunning = false

  constructor(context: BrokerContext) {
    this.#context = context
  }

  /** Follows the bans of the gate. Returns a function that ends it. */
  attach(): () => void {
    const { gate } = this.#context
    const onChange = (): void => {
      const hadBans = this.hasBans
      this.hasBans = gate.bans.size > 0
      this.version++
      if (this.hasBans || hadBans) this.#scheduleRound()
    }
    onChange()
    gate.on('changed', onChange)
    return () => {
      this.#isAttached = false
      this.#cancelRound?.()
      gate.off('changed', onChange)
    }
  }

  /** Checks the bans of all subscribers, in slices and at most once per interval. */
  #scheduleRound(): void {
    if (this.#isRoundRunning) {
      this.#isRoundDue = true
      return
    }
    if (this.#cancelRound !== undefined) return
    const { clock } = this.#context.guard
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
    this.#roundStartedAtMs = this.#context.guard.clock.now()
    this.#checkBans(this.subscribers.values())
  }

  #checkBans(left: Iterator<ClientDeliveries>): void {
    for (let count = 0; count < BAN_SLICE; count++) {
      const next = left.next()
      if (next.done || !this.#isAttached) {
        this.#isRoundRunning = false
        if (this.#isRoundDue && this.#isAttached) this.#scheduleRound()
        return
      }
      next.value.applyBan()
    }
    setImmediate(() => this.#checkBans(left))
  }
}
