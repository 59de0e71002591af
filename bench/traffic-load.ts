import { AedesMessage } from '../brokers/aedes/message.ts'
import { createSender, type Message, type Sender } from '../src/index.ts'
import { zipf } from '../test/src/analytics/zipf.ts'
import { random } from '../test/support/random.ts'

/** Properties of the messages of one row. */
export interface TrafficOptions {
  /** Default: 10,000. */
  readonly senders?: number
  /** Topics of each sender, used in turn. `{n}` is the number of the sender, `{site}` that number modulo 100. */
  readonly topics: readonly string[]
  /**
   * Random order of the senders: evenly, by Zipf's law, or evenly except that 5 % of the messages come from 5 % of the
   * senders. These have used up their limits before. Default: `even`.
   */
  readonly order?: 'even' | 'zipf' | 'over-limit'
  /** Default: a new string for each message, decoded from bytes as a broker decodes it. */
  readonly topicStrings?: 'new' | 'same'
  /** Default: one object per sender, as for a connection. */
  readonly senderObjects?: 'new' | 'same'
  /** Default: 100 bytes of JSON. */
  readonly payload?: Buffer
  readonly hasHeaders?: boolean
}

const SENDERS = 10_000
const SITES = 100
const SEED = 11
/** Random choices made before the measurement. A power of two. */
const PICKS = 2 ** 18

const READING = { priority: 'normal', device: 'device-1', temperature: 21.53, humidity: 40.2, unit: 'C' }
const JSON_PAYLOAD = Buffer.from(JSON.stringify(READING).padEnd(100))

/** Messages as an aedes broker creates them. They are created in batches, so that creation is not measured. */
export class TrafficLoad {
  readonly senders: readonly Sender[]
  /** Number of senders that have used up their limits. They are the first ones. */
  readonly overLimit: number
  readonly #options: TrafficOptions
  /** Topics by sender, then by turn. */
  readonly #topics: readonly string[]
  readonly #topicBytes: readonly Buffer[]
  readonly #picks: Int32Array
  readonly #turns: Uint8Array
  #at = 0

  constructor(options: TrafficOptions) {
    const { senders = SENDERS, topics, order = 'even' } = options
    this.#options = options
    this.senders = Array.from({ length: senders }, (_, index) => createSender(describeSender(index)))
    this.overLimit = order === 'over-limit' ? senders / 20 : 0
    this.#topics = this.senders.flatMap((_, index) =>
      topics.map(topic => topic.replace('{n}', String(index)).replace('{site}', String(index % SITES))),
    )
    this.#topicBytes = this.#topics.map(topic => Buffer.from(topic))
    this.#turns = new Uint8Array(senders)
    const draw = drawSenders(order, senders, this.overLimit)
    this.#picks = Int32Array.from({ length: PICKS }, draw)
  }

  /** Returns one message of every sender on every topic. */
  everyTopic(): Message[] {
    const { length } = this.#options.topics
    return this.#topics.map((_, place) => this.#makeMessage(Math.floor(place / length), place))
  }

  /** Returns one message of each sender that is to use up its limit. */
  everySenderOverLimit(): Message[] {
    return Array.from({ length: this.overLimit }, (_, index) => this.messageOf(index))
  }

  next(count: number): Message[] {
    return Array.from({ length: count }, () => {
      this.#at = (this.#at + 1) & (PICKS - 1)
      return this.messageOf(this.#picks[this.#at]!)
    })
  }

  /** Returns a message of a sender on its next topic. */
  messageOf(sender: number): Message {
    const { length } = this.#options.topics
    const turn = this.#turns[sender]!
    this.#turns[sender] = turn + 1 === length ? 0 : turn + 1
    return this.#makeMessage(sender, sender * length + turn)
  }

  #makeMessage(index: number, place: number): Message {
    const { topicStrings, senderObjects, payload = JSON_PAYLOAD, hasHeaders } = this.#options
    const topic = topicStrings === 'same' ? this.#topics[place]! : this.#topicBytes[place]!.toString()
    const sender = senderObjects === 'new' ? describeSender(index) : this.senders[index]!
    if (hasHeaders !== true)
      return new AedesMessage('publish', sender, { topic, payload, qos: 0, retain: false })
    const headers = { 'x-trace': '4f1c', 'x-priority': 'normal', 'x-api-key': `key-${index}` }
    return { topic, on: 'publish', sender, size: payload.length, qos: 0, protocol: 'mqtt', headers }
  }
}

function drawSenders(order: TrafficOptions['order'], senders: number, overLimit: number): () => number {
  if (order === 'zipf') return zipf(senders, SEED)
  const { next } = random(SEED)
  const drawFrom = (first: number, end: number): number => first + Math.floor(next() * (end - first))
  if (order !== 'over-limit') return () => drawFrom(0, senders)
  return () => (next() < 0.05 ? drawFrom(0, overLimit) : drawFrom(overLimit, senders))
}

/** A device with an address of its own, in the benchmark network 198.18.0.0/15. */
function describeSender(index: number): Sender {
  return {
    client: `client-${index}`,
    user: `user-${index}`,
    device: `device-${index}`,
    ip: `198.18.${index >> 8}.${index & 255}`,
    roles: [],
  }
}
