import { hashLongPart } from '../core/bounded-text.ts'
import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import type { Logger } from '../core/logger.ts'
import type { Message, Sender } from '../core/message.ts'

/** Pairs of rule and client whose last line is remembered; beyond it the table starts anew. */
const PAIRS = 1_024

/** Characters of a stranger's words that reach a log line. */
const SHOWN_CHARS = 128

interface KeyQueue {
  shownAtMs: number
  suppressed: number
}

/**
 * Logs refusals, sampled: the first of each rule and client, then one line each `everyMs` that tells how many it
 * stands for. Bounded in memory and in the length of what strangers chose. Silent without a logger.
 */
export class RefusalLog {
  readonly #logger: Logger | undefined
  readonly #clock: Clock
  readonly #senderOf: (message: Message) => Sender
  readonly #everyMs: number
  /** By rule, then by client: no string is built to look up a short one. */
  #keyQueues = new Map<string, Map<string, KeyQueue>>()
  #pairs = 0

  /** `senderOf` gives the sender that lines show, with the parts that a policy adds. */
  constructor(
    logger: Logger | undefined,
    clock: Clock,
    senderOf = (message: Message): Sender => message.sender,
    everyMs = 10_000,
  ) {
    this.#senderOf = senderOf
    this.#logger = logger
    this.#clock = clock
    this.#everyMs = everyMs
  }

  /** Notes one refusal; writes a line when its pair has been silent for `everyMs`. Never throws. */
  note(message: Message, decision: Decision): void {
    if (this.#logger === undefined) return
    const nowMs = this.#clock.now()
    const keyQueue = this.#find(
      decision.rule ?? decision.reason,
      hashLongPart(message.sender.client ?? message.sender.ip ?? ''),
    )
    if (nowMs - keyQueue.shownAtMs < this.#everyMs) {
      keyQueue.suppressed++
      return
    }
    const suppressed = keyQueue.suppressed
    keyQueue.shownAtMs = nowMs
    keyQueue.suppressed = 0
    this.#write(message, decision, suppressed)
  }

  #find(rule: string, client: string): KeyQueue {
    const known = this.#keyQueues.get(rule)?.get(client)
    if (known) return known
    if (this.#pairs >= PAIRS) {
      this.#keyQueues = new Map()
      this.#pairs = 0
    }
    this.#pairs++
    const keyQueue = { shownAtMs: Number.NEGATIVE_INFINITY, suppressed: 0 }
    const clients = this.#keyQueues.get(rule)
    if (clients) clients.set(client, keyQueue)
    else this.#keyQueues.set(rule, new Map([[client, keyQueue]]))
    return keyQueue
  }

  #write(message: Message, decision: Decision, suppressed: number): void {
    try {
      const { client, user, device, ip } = this.#senderOf(message)
      this.#logger?.info(
        {
          rule: decision.rule,
          reason: decision.reason,
          outcome: decision.outcome,
          on: message.on,
          topic: shorten(message.topic),
          client: shorten(client),
          user: shorten(user),
          device: shorten(device),
          ip,
          retryAfterMs: decision.retryAfterMs,
          suppressed,
        },
        'message refused',
      )
    } catch {
      // A logger that throws must not stop a broker.
    }
  }
}

function shorten(text: string | undefined): string | undefined {
  return text !== undefined && text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text
}
