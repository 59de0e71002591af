import { BOUNDS } from '../../src/bounds.ts'
import type { Guard, Lane } from '../../src/guard.ts'
import { createSender } from '../../src/index.ts'
import type { Sender } from '../../src/message.ts'
import type { NatsMessage } from './client.ts'
import { type Subject, Subjects } from './subjects.ts'

/** What the application knows of who sent a message. */
export type Identify = (message: NatsMessage) => Partial<Sender> | undefined

/** A sender, and the place where its messages wait in their order. */
export class Place {
  readonly sender: Sender
  #lane: Lane | undefined = undefined

  constructor(sender: Sender) {
    this.sender = sender
  }

  /** Messages of this sender that wait in its order. */
  get held(): number {
    return this.#lane === undefined ? 0 : this.#lane.held
  }

  /** Made when first needed: most senders are never held. */
  laneOf(guard: Guard): Lane {
    this.#lane ??= guard.lane()
    return this.#lane
  }
}

/**
 * Senders by who they are; consumers have no connection per sender. Without `identify` each subject is a sender of its
 * own, which costs one look-up. Two halves of `BOUNDS.internedSenders` together: invented subjects push out none that
 * are in use, and those that wait stay, as far as a quarter goes.
 */
export class Senders {
  readonly #identify: Identify | undefined
  readonly #failed: (cause: unknown) => void
  #young = new Map<string, Place>()
  #old = new Map<string, Place>()
  /** In front of them, those of subjects that come often. */
  readonly subjects = new Subjects(subject => this.#keep(subject))

  constructor(identify: Identify | undefined, failed: (cause: unknown) => void) {
    this.#identify = identify
    this.#failed = failed
  }

  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** Never throws: whom `identify` fails for is known by the subject alone. */
  placeOf(message: NatsMessage, subject: Subject): Place {
    if (subject.place !== undefined) return subject.place
    const { topic } = subject
    if (this.#identify === undefined) {
      subject.place = this.#young.get(topic) ?? this.#settle(topic, undefined)
      return subject.place
    }
    const known = this.#ask(message)
    const key = known === undefined ? topic : keyOf(known)
    return this.#young.get(key) ?? this.#settle(key, known)
  }

  /** The place of a subject that is no longer in front may have been forgotten here: what waits there keeps it. */
  #keep({ topic, place }: Subject): void {
    if (place !== undefined && place.held > 0) this.#young.set(topic, place)
  }

  #ask(message: NatsMessage): Partial<Sender> | undefined {
    try {
      return this.#identify?.(message) ?? undefined
    } catch (cause) {
      this.#failed(cause)
      return undefined
    }
  }

  #settle(key: string, known: Partial<Sender> | undefined): Place {
    const place = this.#old.get(key) ?? new Place(createSender(known ?? {}))
    if (this.#young.size >= BOUNDS.internedSenders / 2) this.#age()
    this.#young.set(key, place)
    this.#old.delete(key)
    return place
  }

  #age(): void {
    const busy = [...this.#old].filter(([, { held }]) => held > 0).slice(0, BOUNDS.internedSenders / 4)
    this.#old = this.#young
    this.#young = new Map(busy)
  }
}

/** Injective: no sender can be called like another. */
function keyOf({ client, user, device, apiKey, ip, roles, tier }: Partial<Sender>): string {
  const who = [client, user, device, apiKey, ip, tier].map(part => part ?? null)
  return JSON.stringify(roles === undefined ? who : [...who, ...roles])
}
