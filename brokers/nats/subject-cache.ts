import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Sender } from '../../src/core/message.ts'
import {
  alreadyDecodedSubject,
  setSubjectText,
  subjectBytesOf,
  unwrapCoreMessage,
} from './client-internals.ts'
import type { NatsMessage } from './client-types.ts'
import { SenderWithQueue } from './sender-with-queue.ts'

/** Subject of messages, which is also a sender if there is no `identify`. */
export class SubjectWithSenderQueue extends SenderWithQueue {
  readonly topic: string
  /** True for the server's own subjects: `$JS`, `$KV`, `$SYS`, `_INBOX`. */
  readonly isServerSubject: boolean

  constructor(topic: string, sender: Sender) {
    super(sender)
    this.topic = topic
    this.isServerSubject = isServerSubject(topic)
  }
}

const MAX_BYTES = MAX_SIZES.cachedSubjectBytes
/** Bytes of a table entry: one for the length, then the subject. Two cache lines. */
const STRIDE = 128

/**
 * Cache of subjects by their bytes. Why: a client decodes a new string for each message, and a look-up of its sender
 * hashes it again. A look-up by bytes takes half the time. Sets the cached string on the message, so that the client
 * decodes none. Of two subjects with the same one of `MAX_SIZES.cachedSubjects` entries, the later evicts the earlier.
 * Colliding subjects, and those longer than `MAX_SIZES.cachedSubjectBytes`, only cost the client's own decoding.
 */
export class DecodedSubjectCache {
  readonly #known: (SubjectWithSenderQueue | undefined)[] = new Array(MAX_SIZES.cachedSubjects).fill(
    undefined,
  )
  /** Bytes of all subjects in one array. Separate arrays would cost three more cache lines a message. */
  readonly #bytes = new Uint8Array(MAX_SIZES.cachedSubjects * STRIDE)
  readonly #create: (topic: string) => SubjectWithSenderQueue
  readonly #onEvict: (subject: SubjectWithSenderQueue) => void

  constructor(
    create: (topic: string) => SubjectWithSenderQueue,
    onEvict: (subject: SubjectWithSenderQueue) => void,
  ) {
    this.#create = create
    this.#onEvict = onEvict
  }

  /** Returns the subject of a message. */
  subjectOf(message: NatsMessage): SubjectWithSenderQueue {
    const internals = unwrapCoreMessage(message)
    const bytes = subjectBytesOf(internals)
    if (!(bytes instanceof Uint8Array) || bytes.length > MAX_BYTES) return this.#create(message.subject)
    const { length } = bytes
    let hash = length
    for (let index = 0; index < length; index++) hash = ((hash << 5) - hash + bytes[index]!) | 0
    const slot = (hash ^ (hash >>> 15)) & (MAX_SIZES.cachedSubjects - 1)
    const known = this.#known[slot]
    if (known === undefined) return this.#store(message.subject, bytes, slot)
    // Clients decode the subject of JetStream messages themselves. Comparing it is faster than comparing bytes.
    const text = alreadyDecodedSubject(internals)
    if (text !== undefined) {
      if (known.topic === text) return known
      return this.#store(message.subject, bytes, slot)
    }
    if (!this.#hasBytesAt(bytes, slot)) return this.#store(message.subject, bytes, slot)
    setSubjectText(internals, known.topic)
    return known
  }

  #hasBytesAt(bytes: Uint8Array, slot: number): boolean {
    const table = this.#bytes
    const { length } = bytes
    const start = slot * STRIDE + 1
    let differing = table[start - 1]! ^ length
    for (let index = 0; index < length; index++) differing |= table[start + index]! ^ bytes[index]!
    return differing === 0
  }

  #store(topic: string, bytes: Uint8Array, slot: number): SubjectWithSenderQueue {
    const evicted = this.#known[slot]
    if (evicted !== undefined) this.#onEvict(evicted)
    const subject = this.#create(topic)
    this.#known[slot] = subject
    this.#bytes[slot * STRIDE] = bytes.length
    this.#bytes.set(bytes, slot * STRIDE + 1)
    return subject
  }
}

const DOLLAR = 36
const UNDERSCORE = 95

/** Returns true if a subject or pattern belongs to the server: `$…` or `_INBOX.…`. */
export function isServerSubject(topic: string): boolean {
  const first = topic.charCodeAt(0)
  return first === DOLLAR || (first === UNDERSCORE && topic.startsWith('_INBOX.'))
}
