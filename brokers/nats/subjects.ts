import { BOUNDS } from '../../src/bounds.ts'
import type { NatsMessage } from './client.ts'
import { insideOf } from './inside.ts'
import type { Place } from './senders.ts'

/** A subject on which messages come: its text, and whose place it is where each subject is a sender of its own. */
export class Subject {
  readonly topic: string
  /** One of the server's own: `$JS`, `$KV`, `$SYS`, `_INBOX`. */
  readonly isSystem: boolean
  place: Place | undefined = undefined

  constructor(topic: string) {
    this.topic = topic
    this.isSystem = isSystem(topic)
  }
}

/** Numbers a subject takes in the table: its bytes by fours, and the rest of them with their count. */
const WORDS = BOUNDS.knownSubjectBytes / 4 + 1

/**
 * Subjects by their bytes. A client makes a new text of them for each message, and finding a sender by a new text takes
 * hashing it: together 180 ns, against 60 for bytes that are known. The message is given the known text, so that nobody
 * makes another. One of two subjects that meet in one of the `BOUNDS.knownSubjects` places takes it from the other: who
 * makes subjects meet costs them the client's way, as do those longer than `BOUNDS.knownSubjectBytes`, and nothing else.
 */
export class Subjects {
  readonly #known: (Subject | undefined)[] = new Array(BOUNDS.knownSubjects).fill(undefined)
  /** Their bytes, all in one place: an array for each would be three cache lines more a message. */
  readonly #table = new Int32Array(BOUNDS.knownSubjects * WORDS)
  /** The bytes of the message at hand. */
  readonly #words = new Int32Array(WORDS)
  readonly #forgotten: (subject: Subject) => void

  constructor(forgotten: (subject: Subject) => void) {
    this.#forgotten = forgotten
  }

  /** The subject of a message. */
  of(message: NatsMessage): Subject {
    const inside = insideOf(message)
    const bytes = inside._msg?.subject
    if (!(bytes instanceof Uint8Array) || bytes.length > BOUNDS.knownSubjectBytes)
      return new Subject(message.subject)
    const words = this.#words
    const place = readWords(bytes, words)
    const known = this.#known[place]
    const count = (bytes.length >> 2) + 1
    if (known === undefined || !this.#isAt(place, count)) return this.#learn(message.subject, place, count)
    try {
      inside._subject = known.topic
    } catch {
      // A frozen message makes a text of its own.
    }
    return known
  }

  #isAt(place: number, count: number): boolean {
    const table = this.#table
    const words = this.#words
    const start = place * WORDS
    let differing = 0
    for (let index = 0; index < count; index++) differing |= table[start + index]! ^ words[index]!
    return differing === 0
  }

  #learn(topic: string, place: number, count: number): Subject {
    const before = this.#known[place]
    if (before !== undefined) this.#forgotten(before)
    const learnt = new Subject(topic)
    this.#known[place] = learnt
    this.#table.set(this.#words.subarray(0, count), place * WORDS)
    return learnt
  }
}

const GOLDEN = 0x9e3779b1

/** Four bytes to a number; the last has what is left, and the length. Returns their place in the table. */
function readWords(bytes: Uint8Array, words: Int32Array): number {
  const { length } = bytes
  let hash = length
  let count = 0
  let index = 0
  for (; index + 3 < length; index += 4) {
    const word =
      bytes[index]! | (bytes[index + 1]! << 8) | (bytes[index + 2]! << 16) | (bytes[index + 3]! << 24)
    words[count++] = word
    hash = (((hash << 5) | (hash >>> 27)) + Math.imul(word, GOLDEN)) | 0
  }
  let rest = length
  for (; index < length; index++) rest = (rest << 8) | bytes[index]!
  words[count] = rest
  hash = (((hash << 5) | (hash >>> 27)) + Math.imul(rest, GOLDEN)) | 0
  return (hash ^ (hash >>> 15)) & (BOUNDS.knownSubjects - 1)
}

const DOLLAR = 36
const UNDERSCORE = 95

/** Whether a subject, or a pattern of subjects, is one of the server's own. */
export function isSystem(topic: string): boolean {
  const first = topic.charCodeAt(0)
  return first === DOLLAR || (first === UNDERSCORE && topic.startsWith('_INBOX.'))
}
