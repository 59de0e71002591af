import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Dialect, Sender } from '../../core/message.ts'
import type { CaptureLineReader } from '../capture-file.ts'
import { CaptureReader } from '../capture-format.ts'
import { formatWait } from '../format.ts'
import { LineError } from '../line-splitter.ts'
import { TopicSurvey } from './topic-survey.ts'

/** Identities that a rule can count by, the best one first. */
const IDENTITIES = ['client', 'device', 'user', 'ip'] as const

type Identity = (typeof IDENTITIES)[number]

/** Share of the messages that must have an identity for it to be used. */
const MIN_KNOWN_SHARE = 0.99

/** Not a field of the payload, which has the same name. */
const AT = /^\s*\{\s*"at"\s*:\s*(\d+)/
const TOPIC = /"topic"\s*:\s*"([^"\\]*)"/

/**
 * Reads all lines of a capture to learn its span, its topics and the identities of its senders. A line whose topic was seen
 * is only searched for its time: this pass is to cost little, and later ones read each line.
 */
export class CaptureSurvey implements CaptureLineReader<number> {
  /** Lines read, and the times of the first and last message. */
  messages = 0
  firstMs = Infinity
  lastMs = -Infinity
  connects = 0
  #dialect: Dialect | undefined
  #topics: TopicSurvey | undefined
  /** The dialect of its messages is not used. */
  readonly #reader = new CaptureReader('mqtt')
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

  /** Returns the time of a line. Throws LineError, also for one that is earlier than one before it. */
  read(line: string): number {
    const topic = TOPIC.exec(line)?.[1]
    const at = topic !== undefined && this.#seen.has(topic) ? AT.exec(line)?.[1] : undefined
    const atMs = at === undefined ? this.#readNew(line) : Number(at)
    this.messages++
    if (atMs < this.lastMs) {
      const lag = formatWait(this.lastMs - atMs)
      throw new LineError(`the line is ${lag} earlier than one before it (sort the capture by "at")`)
    }
    this.lastMs = atMs
    if (this.firstMs === Infinity) this.firstMs = atMs
    return atMs
  }

  patterns(): readonly string[] {
    return this.#topics?.patterns() ?? []
  }

  /** Returns the first identity that almost all senders have, as far as they were read. */
  findIdentity(candidates: readonly Identity[] = IDENTITIES): Identity | undefined {
    return candidates.find(name => this.#known[name] >= MIN_KNOWN_SHARE * this.#readSenders)
  }

  #readNew(line: string): number {
    const { atMs, message } = this.#reader.read(line)
    if (message.on === 'connect') this.connects++
    this.#countIdentities(message.sender)
    if (message.on !== 'publish') return atMs
    if (this.#seen.size >= MAX_SIZES.suggestedTopics) this.#seen.clear()
    this.#seen.add(message.topic)
    this.#dialect ??= /^[^/]*\.[^/]*$/.test(message.topic) ? 'nats' : 'mqtt'
    this.#topics ??= new TopicSurvey(this.#dialect)
    this.#topics.record(message.topic, message.sender)
    return atMs
  }

  #countIdentities(sender: Sender): void {
    this.#readSenders++
    for (const name of IDENTITIES) if (sender[name]) this.#known[name]++
  }
}
