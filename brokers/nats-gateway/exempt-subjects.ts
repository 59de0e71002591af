import { policyError } from '../../src/core/errors.ts'
import { validPattern } from '../../src/topic/dialect.ts'

/** Subjects that are never held, because a held acknowledgement is a redelivery storm. */
const ACKNOWLEDGEMENTS = ['$JS.ACK.>', '$JS.FC.>']

/** First character of the subjects that nats-server answers itself. */
const SERVER_PREFIX = '$'

/** A set of subjects and prefixes. */
class SubjectSet {
  readonly #subjects: ReadonlySet<string>
  readonly #prefixes: readonly string[]

  constructor(patterns: readonly string[]) {
    this.#subjects = new Set(patterns.filter(pattern => !pattern.endsWith('.>')))
    this.#prefixes = patterns.filter(pattern => pattern.endsWith('.>')).map(pattern => pattern.slice(0, -1))
  }

  has(subject: string): boolean {
    for (const prefix of this.#prefixes) if (subject.startsWith(prefix)) return true
    return this.#subjects.size > 0 && this.#subjects.has(subject)
  }
}

/** Subjects that no limit applies to. */
export class ExemptSubjects {
  readonly #all: SubjectSet
  readonly #urgent: SubjectSet
  readonly #inboxes: SubjectSet

  /** Throws PolicyError. */
  constructor(exempt: readonly string[], inboxPrefixes: readonly string[]) {
    checkSubjects('exempt', exempt)
    const inboxes = inboxPrefixes.map(prefix => `${prefix}.>`)
    checkSubjects('inboxPrefixes', inboxes)
    const urgent = [...ACKNOWLEDGEMENTS, ...inboxes]
    this.#urgent = new SubjectSet(urgent)
    this.#inboxes = new SubjectSet(inboxes)
    this.#all = new SubjectSet([...urgent, ...exempt])
  }

  has(subject: string): boolean {
    return this.#all.has(subject)
  }

  /**
   * Returns false for a request to the server that names a reply subject other than an inbox: the server publishes its
   * answers, or stored messages, to that subject, and no limit counts them.
   */
  allowsReply(subject: string, reply: string): boolean {
    return reply === '' || !subject.startsWith(SERVER_PREFIX) || this.#inboxes.has(reply)
  }

  /** Returns true for acknowledgements, flow control and replies, which go before held messages. */
  isUrgent(subject: string): boolean {
    return this.#urgent.has(subject)
  }
}

function checkSubjects(option: string, patterns: readonly string[]): void {
  for (const pattern of patterns) {
    const subject = String(pattern).replace(/\.>$/, '')
    if (typeof pattern === 'string' && validPattern(subject, 'nats') && !/[*>{}]/.test(subject)) continue
    throw policyError(
      option,
      `${JSON.stringify(pattern)} is not a subject or a prefix`,
      'write a subject, such as $SYS.>',
    )
  }
}
