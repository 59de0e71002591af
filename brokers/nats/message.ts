import type { Decision } from '../../src/core/decision.ts'
import type { FieldPath } from '../../src/core/field-path.ts'
import type { MaybePromise, Message, MessageHeaders, Operation, Sender } from '../../src/core/message.ts'
import { PayloadReader } from '../../src/core/parse-payload.ts'
import { rateLimitFields } from '../../src/outcomes/rate-limit-fields.ts'
import type { RuleInfoSource } from '../../src/outcomes/rule-info.ts'
import type { JetStreamMessage, NatsMessage } from './client-types.ts'
import { readHeaders } from './headers.ts'

/** Limits that a message has passed, for its handler. */
export interface MessageLimits {
  readonly decision: Decision
  /** `RateLimit`, `RateLimit-Policy` and optionally `X-RateLimit-*` fields, computed on access. */
  readonly fields: Readonly<Record<string, string>>
}

/** Processor of a message, as the message sees it. */
export interface DeliveryProcessor {
  readonly limiter: {
    readonly gate: RuleInfoSource
    readonly settings: { readonly legacyFields: boolean }
  }
  enact(decision: Decision, message: ReceivedMessage): void
  askAgain(message: ReceivedMessage): MaybePromise<Decision>
  handleWaiting(message: ReceivedMessage): boolean
  abandon(message: ReceivedMessage): void
}

/**
 * Message of NATS, for the gate and for its handler. One object for both, because one is created for every message.
 * Headers, payload, size and fields are read on access, because decoding costs more than the decision. Never throws.
 * Uses `declare`, because defining fields before assigning them costs twice.
 */
export class ReceivedMessage implements Message, MessageLimits {
  declare readonly topic: string
  declare readonly sender: Sender
  declare readonly processor: DeliveryProcessor
  /** The client's message; a later delivery of it replaces it. */
  declare source: NatsMessage
  /** Decision already made, to be used once by the next check. At the end, the decision it passed with. */
  declare knownDecision: MaybePromise<Decision> | undefined
  /** Id while it is held; undefined otherwise. */
  declare heldId: string | undefined
  /** True if it was enacted or abandoned. Nothing more is done with it. */
  declare isSettled: boolean
  /** Parts read so far. */
  declare private cache: { headers?: MessageHeaders; reader?: PayloadReader } | undefined

  constructor(topic: string, sender: Sender, processor: DeliveryProcessor, source: NatsMessage) {
    this.topic = topic
    this.sender = sender
    this.processor = processor
    this.source = source
    this.knownDecision = undefined
    this.heldId = undefined
    this.isSettled = false
    this.cache = undefined
  }

  /** Always `publish`: consumers receive published messages. */
  get on(): Operation {
    return 'publish'
  }

  get duplicate(): boolean {
    try {
      return (this.source as Partial<JetStreamMessage>).info?.redelivered === true
    } catch {
      return false
    }
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

  get headers(): MessageHeaders {
    this.cache ??= {}
    this.cache.headers ??= readHeaders(this.source)
    return this.cache.headers
  }

  /** Returns the payload as JSON, parsed once, or undefined if it is not JSON or exceeds the bound. */
  payload(): unknown {
    this.cache ??= {}
    this.cache.reader ??= new PayloadReader()
    return this.cache.reader.parse(this.bytes(), this.size)
  }

  /** Returns a field of the payload without parsing the rest; undefined if it is absent. Never throws. */
  payloadField(path: FieldPath): unknown {
    this.cache ??= {}
    this.cache.reader ??= new PayloadReader()
    return this.cache.reader.readField(this.bytes(), this.size, path)
  }

  bytes(): Uint8Array | undefined {
    try {
      return this.source.data
    } catch {
      return undefined
    }
  }

  get decision(): Decision {
    return this.knownDecision as Decision
  }

  get fields(): Readonly<Record<string, string>> {
    const { gate, settings } = this.processor.limiter
    const { rule } = this.decision
    const ruleInfo = rule === undefined ? undefined : gate.ruleOf?.(rule)
    return rateLimitFields(this.decision, ruleInfo, { legacy: settings.legacyFields })
  }

  takeDecision(): MaybePromise<Decision> | undefined {
    const { knownDecision } = this
    this.knownDecision = undefined
    return knownDecision
  }
}

/** Returns `stream consumer sequence`, the same for all deliveries of a message. Undefined if the client cannot read it. */
export function jetStreamMessageKey(source: JetStreamMessage): string | undefined {
  try {
    const { stream, consumer, streamSequence } = source.info
    return `${stream} ${consumer} ${streamSequence}`
  } catch {
    return undefined
  }
}
