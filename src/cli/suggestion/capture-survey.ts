import { hashLongPart } from '../../core/hash-long-part.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Dialect, Message, Sender } from '../../core/message.ts'
import type { CaptureRecord } from '../capture/capture-format.ts'
import { TopicSurvey } from './topic-survey.ts'

/** Identities that a rule can count by, the best one first. */
const IDENTITIES = ['client', 'device', 'user', 'ip'] as const

type Identity = (typeof IDENTITIES)[number]

/** Share of the messages that must have an identity for it to be used. */
const MIN_KNOWN_SHARE = 0.99

/** Records all messages of a capture to learn its span, its topics and the identities of its senders. */
export class CaptureSurvey {
  /** Number of messages, and the times of the first and last one. */
  messages = 0
  firstMs = Infinity
  lastMs = -Infinity
  connects = 0
  #dialect: Dialect | undefined
  #topics: TopicSurvey | undefined
  readonly #seen = new Set<string>()
  #readSenders = 0
  readonly #known: Record<Identity, number> = { client: 0, device: 0, user: 0, ip: 0 }

  /** Default: the dialect of the first topic that has levels. */
  constructor(dialect: Dialect | undefined) {
    this.#dialect = dialect
  }

  get dialect(): Dialect {
    return this.#dialect ?? 'mqtt'
  }

  /** `isRepeated` is true for a message that differs from one before only in time and size. */
  record({ atMs, message }: CaptureRecord, isRepeated: boolean): void {
    this.messages++
    if (atMs < this.firstMs) this.firstMs = atMs
    if (atMs > this.lastMs) this.lastMs = atMs
    if (message.on === 'connect') this.connects++
    if (message.on === 'publish' && (isRepeated || this.#seen.has(hashLongPart(message.topic)))) return
    this.#recordNew(message)
  }

  patterns(): readonly string[] {
    return this.#topics?.patterns() ?? []
  }

  /** Returns the first identity that almost all senders have, as far as they were read. */
  findIdentity(candidates: readonly Identity[] = IDENTITIES): Identity | undefined {
    return candidates.find(name => this.#known[name] >= MIN_KNOWN_SHARE * this.#readSenders)
  }

  #recordNew(message: Message): void {
    this.#countIdentities(message.sender)
    if (message.on !== 'publish') return
    if (this.#seen.size >= MAX_SIZES.suggestedTopics) this.#seen.clear()
    this.#seen.add(hashLongPart(message.topic))
    this.#dialect ??= /^[^/]*\.[^/]*$/.test(message.topic) ? 'nats' : 'mqtt'
    this.#topics ??= new TopicSurvey(this.#dialect)
    this.#topics.record(message.topic, message.sender)
  }

  #countIdentities(sender: Sender): void {
    this.#readSenders++
    for (const name of IDENTITIES) if (sender[name]) this.#known[name]++
  }
}
