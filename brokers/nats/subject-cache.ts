import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Sender } from '../../src/core/message.ts'
import { Place } from './cached-sender.ts'
import type { NatsMessage } from './client.ts'
import { internalsOf, setSubjectText, subjectBytesOf, subjectTextOf } from './client-internals.ts'

/** A subject on which messages come; a sender too, where each subject is one. */
export class Subject extends Place {
  readonly topic: string
  /** One of the server's own: `$JS`, `$KV`, `$SYS`, `_INBOX`. */
  readonly isSystem: boolean

  constructor(topic: string, sender: Sender) {
    super(sender)
    this.topic = topic
    this.isSystem = isSystem(topic)
  }
}

const LONGEST = MAX_SIZES.knownSubjectBytes
/** Of the table: a byte for the length, and the subject's own; two cache lines. */
const STRIDE = 128

/**
 * Subjects by their bytes. A client makes a new text of them for each message, and finding a sender by a new text takes
 * hashing it once more: together twice what finding it by its bytes takes. The message is given the known text, so that
 * nobody makes another. One of two subjects that meet in one of the `BOUNDS.knownSubjects` places takes it from the other:
 * who makes subjects meet costs them the client's way, as do those longer than `BOUNDS.knownSubjectBytes`, and nothing else.
 */
export class SubjectCache {
  readonly #known: (Subject | undefined)[] = new Array(MAX_SIZES.knownSubjects).fill(undefined)
  /** Their bytes, all in one place: an array for each would be three cache lines more a message. */
  readonly #bytes = new Uint8Array(MAX_SIZES.knownSubjects * STRIDE)
  readonly #make: (topic: string) => Subject
  readonly #forgotten: (subject: Subject) => void

  constructor(make: (topic: string) => Subject, forgotten: (subject: Subject) => void) {
    this.#make = make
    this.#forgotten = forgotten
  }

  /** The subject of a message. */
  of(message: NatsMessage): Subject {
    const internals = internalsOf(message)
    const bytes = subjectBytesOf(internals)
    if (!(bytes instanceof Uint8Array) || bytes.length > LONGEST) return this.#make(message.subject)
    const { length } = bytes
    let hash = length
    for (let index = 0; index < length; index++) hash = ((hash << 5) - hash + bytes[index]!) | 0
    const place = (hash ^ (hash >>> 15)) & (MAX_SIZES.knownSubjects - 1)
    const known = this.#known[place]
    if (known === undefined) return this.#readConsumerInfo(message.subject, bytes, place)
    // A text that is there already, as clients make one of JetStream messages, is compared faster than bytes.
    const text = subjectTextOf(internals)
    if (text !== undefined) {
      if (known.topic === text) return known
      return this.#readConsumerInfo(message.subject, bytes, place)
    }
    if (!this.#isAt(bytes, place)) return this.#readConsumerInfo(message.subject, bytes, place)
    setSubjectText(internals, known.topic)
    return known
  }

  #isAt(bytes: Uint8Array, place: number): boolean {
    const table = this.#bytes
    const { length } = bytes
    const start = place * STRIDE + 1
    let differing = table[start - 1]! ^ length
    for (let index = 0; index < length; index++) differing |= table[start + index]! ^ bytes[index]!
    return differing === 0
  }

  #readConsumerInfo(topic: string, bytes: Uint8Array, place: number): Subject {
    const before = this.#known[place]
    if (before !== undefined) this.#forgotten(before)
    const learnt = this.#make(topic)
    this.#known[place] = learnt
    this.#bytes[place * STRIDE] = bytes.length
    this.#bytes.set(bytes, place * STRIDE + 1)
    return learnt
  }
}

const DOLLAR = 36
const UNDERSCORE = 95

/** Whether a subject, or a pattern of subjects, is one of the server's own. */
export function isSystem(topic: string): boolean {
  const first = topic.charCodeAt(0)
  return first === DOLLAR || (first === UNDERSCORE && topic.startsWith('_INBOX.'))
}
