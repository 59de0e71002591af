import { BOUNDS } from '../../src/bounds.ts'
import type { Decision } from '../../src/decision.ts'
import type { Action, Headers, MaybePromise, Message, Sender } from '../../src/message.ts'
import type { NatsMessage } from './client.ts'
import { readHeaders } from './headers.ts'

const NOT_PARSED: unique symbol = Symbol('not parsed')

/** Where a delivery came from, and what becomes of it. */
export interface Course {
  enact(decision: Decision, delivery: Delivery): void
}

/**
 * One message of NATS as the gate sees it. Made for every message, so it is one small object: headers, payload and
 * size are read where a rule asks for them, as decoding costs more than the decision. Nothing of it throws. (`declare`,
 * as fields that are defined first and assigned then cost twice.)
 */
export class Delivery implements Message {
  declare readonly topic: string
  declare readonly sender: Sender
  declare readonly course: Course
  /** The client's object; a later one where JetStream has delivered it again meanwhile. */
  declare source: NatsMessage
  /** A decision made already, to be taken once by whoever asks next. */
  declare decided: MaybePromise<Decision> | undefined
  /** What it is held under; undefined while it is not. */
  declare heldAs: string | undefined
  /** It has been enacted, or given up: nothing more is done with it. */
  declare settled: boolean
  declare private parsed: unknown
  declare private read: Headers | undefined

  constructor(topic: string, sender: Sender, course: Course, source: NatsMessage) {
    this.topic = topic
    this.sender = sender
    this.course = course
    this.source = source
    this.decided = undefined
    this.heldAs = undefined
    this.settled = false
    this.parsed = NOT_PARSED
    this.read = undefined
  }

  /** What a consumer takes was published. */
  get on(): Action {
    return 'publish'
  }

  get protocol(): 'nats' {
    return 'nats'
  }

  get size(): number {
    try {
      return this.source.data.length
    } catch {
      return 0
    }
  }

  get headers(): Headers {
    this.read ??= readHeaders(this.source)
    return this.read
  }

  /** The payload as JSON, parsed once; undefined where it is none or larger than the bound. */
  payload(): unknown {
    if (this.parsed === NOT_PARSED) this.parsed = parse(this.source)
    return this.parsed
  }

  takeDecision(): MaybePromise<Decision> | undefined {
    const { decided } = this
    this.decided = undefined
    return decided
  }
}

function parse(source: NatsMessage): unknown {
  try {
    const { data } = source
    if (data.length === 0 || data.length > BOUNDS.parsedPayloadBytes) return undefined
    return JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString())
  } catch {
    return undefined
  }
}
