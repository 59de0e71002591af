import { hashLongPart } from '../../src/core/bounded-text.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Sender } from '../../src/core/message.ts'
import { createSender } from '../../src/index.ts'
import { Place } from './cached-sender.ts'
import type { NatsMessage } from './client.ts'
import { Subject, SubjectCache } from './subject-cache.ts'

/** What the application knows of who sent a message. */
export type Identify = (message: NatsMessage) => Partial<Sender> | undefined

/** Whose the subjects are where senders are told by something else. */
const NOBODY = createSender({})

/**
 * Senders by who they are; consumers have no connection per sender. Without `identify` each subject is a sender of its
 * own, which costs no look-up of its own. Two halves of `BOUNDS.internedSenders` together: invented subjects push out none
 * that are in use, and those that wait stay, as far as a quarter goes.
 */
export class IdentifiedSenders {
  /** Whether senders are told by something else than the subject. */
  readonly identifies: boolean
  readonly #identify: Identify | undefined
  readonly #failed: (cause: unknown) => void
  #young = new Map<string, Place>()
  #old = new Map<string, Place>()
  /** In front of them, those subjects that come often. */
  readonly subjects: SubjectCache

  constructor(identify: Identify | undefined, failed: (cause: unknown) => void) {
    this.identifies = identify !== undefined
    this.#identify = identify
    this.#failed = failed
    this.subjects = new SubjectCache(
      topic => (this.identifies ? new Subject(topic, NOBODY) : this.#subjectOf(topic)),
      subject => this.#keep(subject),
    )
  }

  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** Who sent a message, and where its messages wait. Never throws: whom `identify` fails for is known by the subject alone. */
  placeOf(message: NatsMessage, subject: Subject): Place {
    if (!this.identifies) return subject
    const known = this.#ask(message)
    const key = hashLongPart(known === undefined ? subject.topic : keyOf(known))
    return this.#young.get(key) ?? this.#settle(key, () => new Place(createSender(known ?? {})))
  }

  #subjectOf(topic: string): Subject {
    const key = hashLongPart(topic)
    const known = this.#young.get(key) ?? this.#settle(key, () => new Subject(topic, createSender({})))
    return known as Subject
  }

  /** What is no longer in front may have been forgotten here: what waits there keeps it. */
  #keep(subject: Subject): void {
    if (subject.pending > 0) this.#young.set(hashLongPart(subject.topic), subject)
  }

  #ask(message: NatsMessage): Partial<Sender> | undefined {
    try {
      return this.#identify?.(message) ?? undefined
    } catch (cause) {
      this.#failed(cause)
      return undefined
    }
  }

  #settle(key: string, make: () => Place): Place {
    const place = this.#old.get(key) ?? make()
    if (this.#young.size >= MAX_SIZES.internedSenders / 2) this.#age()
    this.#young.set(key, place)
    this.#old.delete(key)
    return place
  }

  #age(): void {
    const busy = [...this.#old]
      .filter(([, { pending }]) => pending > 0)
      .slice(0, MAX_SIZES.internedSenders / 4)
    this.#old = this.#young
    this.#young = new Map(busy)
  }
}

/** Injective: no sender can be called like another. */
function keyOf({ client, user, device, apiKey, ip, roles, tier }: Partial<Sender>): string {
  const who = [client, user, device, apiKey, ip, tier].map(part => part ?? null)
  return JSON.stringify(roles === undefined ? who : [...who, ...roles])
}
