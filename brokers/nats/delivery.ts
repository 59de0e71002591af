import type { Decision } from '../../src/core/decision.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Action, Headers, MaybePromise, Message, Sender } from '../../src/core/message.ts'
import { rateLimitFields } from '../../src/index.ts'
import type { RuleLookup } from '../../src/outcomes/rule-info.ts'
import type { NatsMessage } from './client.ts'
import { readHeaders } from './headers.ts'
import type { MessageLimits } from './message-limits.ts'

/** Where a delivery came from, and what becomes of it. */
export interface Processor {
  readonly context: {
    readonly gate: RuleLookup
    readonly settings: { readonly legacyFields: boolean }
  }
  enact(decision: Decision, delivery: Delivery): void
}

/**
 * One message of NATS as the gate sees it, and what its handler is told of its limits: made for every message, so it is
 * one object for both. Headers, payload, size and fields are read where somebody asks for them, as decoding costs more
 * than the decision. Nothing of it throws. (`declare`, as fields that are defined first and assigned then cost twice.)
 */
export class Delivery implements Message, MessageLimits {
  declare readonly topic: string
  declare readonly sender: Sender
  declare readonly processor: Processor
  /** The client's object; a later one where JetStream has delivered it again meanwhile. */
  declare source: NatsMessage
  /** A decision made already, to be taken once by whoever asks next; at last the one it was handed on with. */
  declare decided: MaybePromise<Decision> | undefined
  /** What it is held under; undefined while it is not. */
  declare heldAs: string | undefined
  /** It has been enacted, or given up: nothing more is done with it. */
  declare settled: boolean
  /** What has been read of it. */
  declare private read: { headers?: Headers; payload?: unknown } | undefined

  constructor(topic: string, sender: Sender, processor: Processor, source: NatsMessage) {
    this.topic = topic
    this.sender = sender
    this.processor = processor
    this.source = source
    this.decided = undefined
    this.heldAs = undefined
    this.settled = false
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
    this.read ??= {}
    this.read.headers ??= readHeaders(this.source)
    return this.read.headers
  }

  /** The payload as JSON, parsed once; undefined where it is none or larger than the bound. */
  payload(): unknown {
    this.read ??= {}
    if (!('payload' in this.read)) this.read.payload = parse(this.source)
    return this.read.payload
  }

  bytes(): Uint8Array | undefined {
    try {
      return this.source.data
    } catch {
      return undefined
    }
  }

  get decision(): Decision {
    return this.decided as Decision
  }

  get fields(): Readonly<Record<string, string>> {
    const { gate, settings } = this.processor.context
    const { rule } = this.decision
    const facts = rule === undefined ? undefined : gate.ruleOf?.(rule)
    return rateLimitFields(this.decision, facts, { legacy: settings.legacyFields })
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
    if (data.length === 0 || data.length > MAX_SIZES.parsedPayloadBytes) return undefined
    return JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString())
  } catch {
    return undefined
  }
}
