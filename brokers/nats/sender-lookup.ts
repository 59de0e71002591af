import { hashLongPart } from '../../src/core/hash-long-part.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Sender } from '../../src/core/message.ts'
import { createSender } from '../../src/index.ts'
import { CachedSender } from './cached-sender.ts'
import type { NatsMessage } from './client-types.ts'
import { CachedSubject, SubjectCache } from './subject-cache.ts'

/** Returns what the application knows of a message's sender. */
export type Identify = (message: NatsMessage) => Partial<Sender> | undefined

/** Sender of subjects if `identify` is used. */
const NO_SENDER = createSender({})

/**
 * Bounded cache of senders; NATS consumers have no connection per sender. Without `identify` each subject is a sender and
 * needs no second look-up. Two generations of `MAX_SIZES.internedSenders` in total: invented subjects do not evict senders
 * in use. Senders with waiting messages are kept, up to a quarter of the size.
 */
export class SenderLookup {
  /** True if `identify` is set. */
  readonly hasIdentify: boolean
  readonly #identify: Identify | undefined
  readonly #onError: (cause: unknown) => void
  #recent = new Map<string, CachedSender>()
  #older = new Map<string, CachedSender>()
  /** Cache in front for frequent subjects. */
  readonly subjects: SubjectCache

  constructor(identify: Identify | undefined, onError: (cause: unknown) => void) {
    this.hasIdentify = identify !== undefined
    this.#identify = identify
    this.#onError = onError
    this.subjects = new SubjectCache(
      topic => (this.hasIdentify ? new CachedSubject(topic, NO_SENDER) : this.#subjectOf(topic)),
      subject => this.#retain(subject),
    )
  }

  get size(): number {
    return this.#recent.size + this.#older.size
  }

  /** Returns the sender of a message. If `identify` fails, the subject is the sender. Never throws. */
  senderOf(message: NatsMessage, subject: CachedSubject): CachedSender {
    if (!this.hasIdentify) return subject
    const cached = this.#callIdentify(message)
    const key = hashLongPart(cached === undefined ? subject.topic : keyOf(cached))
    return this.#recent.get(key) ?? this.#add(key, () => new CachedSender(createSender(cached ?? {})))
  }

  #subjectOf(topic: string): CachedSubject {
    const key = hashLongPart(topic)
    const cached = this.#recent.get(key) ?? this.#add(key, () => new CachedSubject(topic, createSender({})))
    return cached as CachedSubject
  }

  /** Keeps an evicted subject that has waiting messages. */
  #retain(subject: CachedSubject): void {
    if (subject.pending > 0) this.#recent.set(hashLongPart(subject.topic), subject)
  }

  #callIdentify(message: NatsMessage): Partial<Sender> | undefined {
    try {
      return this.#identify?.(message) ?? undefined
    } catch (cause) {
      this.#onError(cause)
      return undefined
    }
  }

  #add(key: string, create: () => CachedSender): CachedSender {
    const sender = this.#older.get(key) ?? create()
    if (this.#recent.size >= MAX_SIZES.internedSenders / 2) this.#rotate()
    this.#recent.set(key, sender)
    this.#older.delete(key)
    return sender
  }

  #rotate(): void {
    const busy = [...this.#older]
      .filter(([, { pending }]) => pending > 0)
      .slice(0, MAX_SIZES.internedSenders / 4)
    this.#older = this.#recent
    this.#recent = new Map(busy)
  }
}

/** Returns a unique key for a sender. */
function keyOf({ client, user, device, apiKey, ip, roles, tier }: Partial<Sender>): string {
  const parts = [client, user, device, apiKey, ip, tier].map(part => part ?? null)
  return JSON.stringify(roles === undefined ? parts : [...parts, ...roles])
}
