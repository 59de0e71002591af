import { cacheKeyOfUnknownSender, keyOfSender, SenderCache } from '../../src/broker-support/sender-cache.ts'
import { createSender } from '../../src/chain/senders/sender-state.ts'
import type { Sender } from '../../src/core/message.ts'
import type { NatsMessage } from './client-types.ts'
import { SenderWithQueue } from './sender-with-queue.ts'
import { DecodedSubjectCache, SubjectWithSenderQueue } from './subject-cache.ts'

/** Returns what the application knows of a message's sender. */
export type Identify = (message: NatsMessage) => Partial<Sender> | undefined

/** Sender of subjects if `identify` is used. */
const NO_SENDER = createSender({})

const hasWaiting = ({ pending }: SenderWithQueue): boolean => pending > 0

/** Senders of received messages. Without `identify` each subject is a sender and needs no second look-up. */
export class NatsMessageSenderCache {
  /** True if `identify` is set. */
  readonly hasIdentify: boolean
  readonly #identify: Identify | undefined
  readonly #onError: (cause: unknown) => void
  readonly #senders = new SenderCache(hasWaiting)
  /** Senders without `identify`. */
  readonly #subjects = new SenderCache<SubjectWithSenderQueue>(hasWaiting)
  /** Cache in front for frequent subjects. */
  readonly subjects: DecodedSubjectCache

  /** `onError` receives errors of `identify`. */
  constructor(identify: Identify | undefined, onError: (cause: unknown) => void) {
    this.hasIdentify = identify !== undefined
    this.#identify = identify
    this.#onError = onError
    this.subjects = new DecodedSubjectCache(
      topic => (this.hasIdentify ? new SubjectWithSenderQueue(topic, NO_SENDER) : this.#findSubject(topic)),
      subject => {
        if (subject.pending > 0) this.#subjects.set(subject.topic, subject)
      },
    )
  }

  get size(): number {
    return this.#senders.size + this.#subjects.size
  }

  /** Returns the sender of a message. If `identify` fails, the subject is the sender. Never throws. */
  senderOf(message: NatsMessage, subject: SubjectWithSenderQueue): SenderWithQueue {
    if (this.#identify === undefined) return subject
    try {
      const sender = this.#identify(message) ?? undefined
      if (sender !== undefined) return this.#find(keyOfSender(sender), sender)
    } catch (cause) {
      this.#onError(cause)
    }
    return this.#find(cacheKeyOfUnknownSender(subject.topic), {})
  }

  #find(key: string, sender: Partial<Sender>): SenderWithQueue {
    return this.#senders.get(key) ?? this.#senders.set(key, new SenderWithQueue(createSender(sender)))
  }

  #findSubject(topic: string): SubjectWithSenderQueue {
    return (
      this.#subjects.get(topic) ??
      this.#subjects.set(topic, new SubjectWithSenderQueue(topic, createSender({})))
    )
  }
}
