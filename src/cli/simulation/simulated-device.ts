import { seededRandom } from '../../core/seeded-random.ts'
import { createSender, type Sender } from '../../index.ts'
import type { FleetGroup } from './fleet-format.ts'
import { type Outage, Outages } from './outages.ts'
import { createIntervals, type NextInterval } from './send-intervals.ts'

/** `open` opens a connection whose CONNECT is sent slowly; `connect` is then its end. */
export type DeviceAction = 'open' | 'connect' | 'disconnect' | 'publish'

const DEFAULT_SIZE = { least: 100, most: 100 }
/** Maximum messages that a device sends again after a connect, the latest ones. */
const MAX_UNACKNOWLEDGED = 100
/** Time after which a device that ignores the end of its connection connects again. */
const RECONNECT_MS = 100

/** When a group starts and ends, in milliseconds since the epoch. */
export interface DeviceSpan {
  readonly startMs: number
  readonly endMs: number
}

/** A message that a device has published. */
export interface PublishedMessage {
  /** From 1, in the order of the device. A message that is sent again keeps it. */
  readonly number: number
  readonly topic: string
  /** Payload bytes. */
  readonly size: number
}

const NO_MESSAGE: PublishedMessage = { number: 0, topic: '', size: 0 }

/** A device of a fleet: what it does next, and when. All its randomness is its own, so that it does not depend on others. */
export class SimulatedDevice {
  readonly group: FleetGroup
  readonly sender: Sender
  /** Topics, which it uses in turn. */
  readonly topics: readonly string[]
  /** Time of the next action; Infinity if there is none. */
  nextAtMs = 0
  nextAction: DeviceAction
  /** Action that begins a connection. */
  readonly beginning: 'open' | 'connect'
  /** The message that was published last. */
  message = NO_MESSAGE
  /** True if `message` was sent over an earlier connection, too. */
  isRedelivered = false
  /** True if its connection was ended by the other side, and it has not connected again. What it publishes is lost. */
  hasLostConnection = false
  /** Messages published so far, each with its duplicates. */
  #published = 0
  readonly #random: () => number
  readonly #nextInterval: NextInterval
  readonly #outages: Outages
  readonly #span: DeviceSpan
  /** Factor of all intervals: clocks of devices run fast or slow. */
  readonly #pace: number
  #isOnline = false
  #outage: Outage | undefined
  /** Time of a connection that replaces the one there is, or was; Infinity if there will be none. */
  #reconnectMs = Infinity
  /** Time at which a slow CONNECT ends; Infinity if none is being sent. */
  #slowConnectMs = Infinity
  /** Time at which the device has its next message, connected or not. */
  #dueMs: number
  /** Messages that wait since an outage, and the time at which the first of them is sent. */
  #backlog = 0
  #flushMs = 0
  #flushEveryMs = 0
  #isRepeated = false
  /** The latest messages of a device that ignores acknowledgements. */
  readonly #unacknowledged: PublishedMessage[] = []
  /** Index of the one that is sent again next after a connect; their number if none is. */
  #redelivery = 0

  /** `number` is from 1. */
  constructor(group: FleetGroup, number: number, seed: number, span: DeviceSpan) {
    const random = seededRandom(seed)
    this.group = group
    this.#random = random
    this.#span = span
    this.sender = createSenderOf(group, number)
    this.topics = createTopics(group, number, this.sender)
    this.#pace = 1 + (group.drift ?? 0) * (2 * random() - 1)
    this.#nextInterval = createIntervals(group.send, random)
    this.#outages = new Outages(group.faults ?? [], span.startMs, random)
    // Devices start at any time of their first interval.
    const share = random()
    const firstMs = group.send === undefined ? group.connects!.every : this.#nextInterval(span.startMs)
    const beginMs = span.startMs + share * this.#pace * firstMs
    this.#dueMs = group.send === undefined ? Infinity : beginMs
    this.beginning = group.connects?.slow === undefined ? 'connect' : 'open'
    this.nextAction = this.beginning
    this.#planFor(this.beginning, beginMs)
  }

  /** Does the next action and plans the one after it. */
  advance(): void {
    const { nextAtMs: atMs, nextAction: action } = this
    if (action === 'publish') this.#publish(atMs)
    else if (action === this.beginning) this.#beginConnection(atMs)
    else this.#slowConnectMs = Infinity
    if (action === 'disconnect') this.#isOnline = false
    this.#plan(atMs)
  }

  /**
   * Ends its connection from the other side. The device stays away until its next planned connect, or, if it ignores that,
   * connects again at once.
   */
  loseConnection(atMs: number): void {
    this.hasLostConnection = true
    this.#slowConnectMs = Infinity
    this.#redelivery = this.#unacknowledged.length
    if (this.group.ignores?.includes('disconnect')) {
      this.#reconnectMs = Math.min(this.#reconnectMs, atMs + RECONNECT_MS)
    }
    this.#plan(atMs)
  }

  #beginConnection(atMs: number): void {
    const { every = Infinity, slow = Infinity } = this.group.connects ?? {}
    const beginMs = this.#isOnline ? this.#reconnectMs : atMs
    if (!this.#isOnline) this.#comeOnline(atMs)
    this.hasLostConnection = false
    this.#reconnectMs = beginMs + this.#pace * every
    this.#slowConnectMs = beginMs + this.#pace * slow
    this.#redelivery = 0
  }

  #comeOnline(atMs: number): void {
    this.#isOnline = true
    if (this.#outage !== undefined) {
      while (this.#dueMs < this.#outage.endMs) {
        if (this.#outage.isFlushed) this.#backlog++
        this.#drawDue()
      }
      this.#flushMs = atMs
      this.#flushEveryMs = this.#outage.flushEveryMs
    }
    this.#outage = this.#outages.next(atMs)
  }

  #publish(atMs: number): void {
    this.isRedelivered = this.#isRedelivering
    if (this.isRedelivered) {
      this.message = this.#unacknowledged[this.#redelivery++]!
      return
    }
    if (this.#isRepeated) this.#isRepeated = false
    else {
      this.#createMessage()
      if (this.#isRepeated) return
    }
    if (this.#backlog === 0) this.#drawDue()
    else {
      this.#backlog--
      this.#flushMs = atMs + this.#flushEveryMs
    }
  }

  #createMessage(): void {
    const { size: { least, most } = DEFAULT_SIZE, duplicate = 0, ignores } = this.group
    const topic = this.topics[this.#published++ % this.topics.length]!
    const size = least === most ? least : least + Math.floor(this.#random() * (most - least + 1))
    this.message = { number: this.#published, topic, size }
    this.#isRepeated = duplicate > 0 && this.#random() < duplicate
    if (ignores?.includes('puback')) this.#keepUnacknowledged()
  }

  #keepUnacknowledged(): void {
    this.#unacknowledged.push(this.message)
    if (this.#unacknowledged.length > MAX_UNACKNOWLEDGED) this.#unacknowledged.shift()
    this.#redelivery = this.#unacknowledged.length
  }

  get #isRedelivering(): boolean {
    return this.#redelivery < this.#unacknowledged.length
  }

  #plan(nowMs: number): void {
    if (this.#isRepeated || this.#isRedelivering) {
      this.#planFor('publish', nowMs)
      return
    }
    if (!this.#isOnline) {
      this.#planFor(this.beginning, this.#outage!.endMs)
      return
    }
    if (this.#backlog > 0) {
      // New messages queue behind those that wait.
      while (this.#dueMs <= this.#flushMs) {
        this.#backlog++
        this.#drawDue()
      }
    }
    const sendMs = this.#backlog > 0 ? this.#flushMs : this.#dueMs
    const connectMs = Math.min(this.#reconnectMs, this.#slowConnectMs)
    const disconnectMs = this.#outage?.startMs ?? Infinity
    if (disconnectMs <= Math.min(sendMs, connectMs)) this.#planFor('disconnect', disconnectMs)
    else if (sendMs < connectMs) this.#planFor('publish', sendMs)
    else this.#planFor(connectMs === this.#reconnectMs ? this.beginning : 'connect', connectMs)
  }

  #planFor(action: DeviceAction, atMs: number): void {
    this.nextAction = action
    this.nextAtMs = atMs < this.#span.endMs ? Math.floor(atMs) : Infinity
  }

  #drawDue(): void {
    this.#dueMs += this.#pace * this.#nextInterval(this.#dueMs)
  }
}

function createSenderOf({ name, client = '{name}-{n}', user, ip }: FleetGroup, number: number): Sender {
  const fill = (template: string): string =>
    template.replaceAll('{name}', name).replaceAll('{n}', String(number))
  const parts: Sender = { client: fill(client), user: user && fill(user), ip: ip && fill(ip) }
  return createSender(parts)
}

function createTopics(group: FleetGroup, number: number, { client = '' }: Sender): readonly string[] {
  const { name, topic = '', topics = 1, values = {} } = group
  let filled = topic
    .replaceAll('{name}', name)
    .replaceAll('{n}', String(number))
    .replaceAll('{client}', client)
  for (const [word, list] of Object.entries(values)) {
    filled = filled.replaceAll(`{${word}}`, list[(number - 1) % list.length]!)
  }
  if (topics === 1) return [filled.replaceAll('{topic}', '1')]
  return Array.from({ length: topics }, (_, index) => filled.replaceAll('{topic}', String(index + 1)))
}
