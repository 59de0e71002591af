import { BOUNDS } from '../bounds.ts'
import type { Action, Sender } from '../message.ts'
import type { Binding, Routes } from './routes.ts'

const LATEST: unique symbol = Symbol('topicgate.latest')

interface Seated extends Sender {
  [LATEST]?: Binding | undefined
}

/** What one gate keeps of a sender: its bindings on the topics it used last. */
export class Seat {
  readonly owner: Sender
  readonly gate: object
  /** Whether the latest binding hangs on the sender itself. */
  readonly attached: boolean
  readonly #bindings: Binding[] = []
  #oldest = 0

  constructor(owner: Sender, gate: object, attached: boolean) {
    this.owner = owner
    this.gate = gate
    this.attached = attached
  }

  /** The binding kept for a topic, if it is still valid. */
  recall(topic: string, on: Action, routes: Routes): Binding | undefined {
    const found = this.#bindings.find(
      each => each.on === on && each.topic === topic && each.routes === routes,
    )
    if (found !== undefined && this.attached) (this.owner as Seated)[LATEST] = found
    return found
  }

  /** Keeps a binding, in place of the oldest where there are too many or others are void. */
  keep(binding: Binding): void {
    if (this.#bindings[0]?.routes !== binding.routes) {
      this.#bindings.length = 0
      this.#oldest = 0
    }
    if (this.#bindings.length < BOUNDS.topicsPerSender) this.#bindings.push(binding)
    else {
      this.#bindings[this.#oldest] = binding
      this.#oldest = (this.#oldest + 1) % BOUNDS.topicsPerSender
    }
    if (this.attached) (this.owner as Seated)[LATEST] = binding
  }
}

/**
 * The binding a sender used last, nearly always the one it needs next; perhaps that of another gate or, on a copy
 * (`{ ...sender }`), of another sender. It hangs on the sender itself: one load a message, where a WeakMap costs
 * 20 to 50 ns.
 */
export function latestOf(sender: Sender): Binding | undefined {
  return (sender as Seated)[LATEST]
}

/** Seats of senders that are frozen, or that several gates know. */
const ASIDE = new WeakMap<object, WeakMap<Sender, Seat>>()

/** The seat of a sender at a gate, made if need be. */
export function seatOf(sender: Sender, gate: object): Seat {
  const held = (sender as Seated)[LATEST]?.seat
  if (held?.owner === sender && held.gate === gate) return held
  let seats = ASIDE.get(gate)
  const aside = seats?.get(sender)
  if (aside !== undefined) return aside
  if (Object.isExtensible(sender) && held?.owner !== sender) return new Seat(sender, gate, true)
  const seat = new Seat(sender, gate, false)
  if (seats === undefined) {
    seats = new WeakMap()
    ASIDE.set(gate, seats)
  }
  seats.set(sender, seat)
  return seat
}

class Connection implements Seated {
  [LATEST]: Binding | undefined = undefined
  readonly client: string | undefined
  readonly user: string | undefined
  readonly device: string | undefined
  readonly apiKey: string | undefined
  readonly ip: string | undefined
  readonly roles: readonly string[] | undefined
  readonly tier: string | undefined

  constructor(sender: Sender) {
    this.client = sender.client
    this.user = sender.user
    this.device = sender.device
    this.apiKey = sender.apiKey
    this.ip = sender.ip
    this.roles = sender.roles
    this.tier = sender.tier
  }
}

/**
 * A sender for a connection. Any object will do as a sender; one made here has room for its latest binding built
 * in, which saves a load a message and a property list a connection.
 */
export function createSender(sender: Sender): Sender {
  return new Connection(sender)
}
