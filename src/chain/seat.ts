import { BOUNDS } from '../bounds.ts'
import type { Action, Sender } from '../message.ts'
import type { Binding, Routes } from './routes.ts'

const SEAT: unique symbol = Symbol('topicgate.seat')

/** What one gate keeps on a sender: its bindings on the topics it used last. */
export class Seat {
  readonly owner: Sender
  readonly gate: object
  /** The binding used last: nearly always the one asked for next. */
  latest: Binding | undefined
  #others: Binding[] | undefined
  #oldest = 0

  constructor(owner: Sender, gate: object) {
    this.owner = owner
    this.gate = gate
  }

  /** The binding kept for a topic, if it is still valid; becomes the latest. */
  recall(topic: string, on: Action, routes: Routes): Binding | undefined {
    const found = this.#others?.find(each => each.on === on && each.topic === topic && each.routes === routes)
    if (found !== undefined) this.latest = found
    return found
  }

  /** Keeps a binding in place of the oldest; a sender of a single topic needs no list. */
  keep(binding: Binding): void {
    const before = this.latest
    this.latest = binding
    if (before === undefined || before.routes !== binding.routes) {
      this.#others = undefined
      return
    }
    this.#others ??= [before]
    if (this.#others.length < BOUNDS.topicsPerSender) this.#others.push(binding)
    else {
      this.#others[this.#oldest] = binding
      this.#oldest = (this.#oldest + 1) % BOUNDS.topicsPerSender
    }
  }
}

interface Seated extends Sender {
  [SEAT]?: Seat | undefined
}

class Connection implements Seated {
  [SEAT]: Seat | undefined = undefined
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
 * A sender for a connection. Any object will do as a sender; one made here has its seat built in, which saves a
 * load a message and a property list a connection.
 */
export function createSender(sender: Sender): Sender {
  return new Connection(sender)
}

/** Seats of senders that are frozen, or that several gates know. */
const ASIDE = new WeakMap<object, WeakMap<Sender, Seat>>()

/**
 * The seat of a sender at a gate. It hangs on the sender itself, which costs one load a message where a WeakMap
 * costs 20 to 50 ns. A copy of a sender (`{ ...sender }`) copies the seat too, hence the look at its owner.
 */
export function seatOf(sender: Sender, gate: object): Seat {
  const seat = (sender as Seated)[SEAT]
  return seat !== undefined && seat.gate === gate && seat.owner === sender ? seat : newSeat(sender, gate)
}

function newSeat(sender: Sender, gate: object): Seat {
  const held = (sender as Seated)[SEAT]
  if (Object.isExtensible(sender) && (held === undefined || held.owner !== sender)) {
    const seat = new Seat(sender, gate)
    ;(sender as Seated)[SEAT] = seat
    return seat
  }
  let seats = ASIDE.get(gate)
  if (seats === undefined) {
    seats = new WeakMap()
    ASIDE.set(gate, seats)
  }
  let seat = seats.get(sender)
  if (seat === undefined) {
    seat = new Seat(sender, gate)
    seats.set(sender, seat)
  }
  return seat
}
