import type { Clock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { hashLongPart } from '../core/hash-long-part.ts'
import type { Logger } from '../core/logger.ts'
import type { Message, Sender } from '../core/message.ts'

/** Most pairs of rule and client with a remembered line. Beyond it the table is cleared. */
const MAX_PAIRS = 1_024

/** Most characters of untrusted input in a log line. */
const MAX_SHOWN_CHARS = 128

interface LogEntry {
  loggedAtMs: number
  suppressed: number
}

/**
 * Logs refusals, sampled per rule and client: the first one, then one line each `everyMs` with a count of the
 * lines left out. Bounded in memory and in line length. Silent without a logger.
 */
export class RefusalLog {
  readonly #logger: Logger | undefined
  readonly #clock: Clock
  readonly #senderOf: (message: Message) => Sender
  readonly #everyMs: number
  /** Rule, then client. Because of the two levels a look-up builds no string. */
  #entries = new Map<string, Map<string, LogEntry>>()
  #pairs = 0

  /** `senderOf` returns the sender to log, with the parts that a policy adds. */
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

  /** Counts one refusal. Logs a line if its rule and client had none for `everyMs`. Never throws. */
  recordRefusal(message: Message, decision: Decision): void {
    // A repeated value is no offence, and may be most of the traffic.
    if (this.#logger === undefined || decision.reason === 'unchanged') return
    const nowMs = this.#clock.now()
    const entry = this.#find(
      decision.rule ?? decision.reason,
      hashLongPart(message.sender.client ?? message.sender.ip ?? ''),
    )
    if (nowMs - entry.loggedAtMs < this.#everyMs) {
      entry.suppressed++
      return
    }
    const suppressed = entry.suppressed
    entry.loggedAtMs = nowMs
    entry.suppressed = 0
    this.#write(message, decision, suppressed)
  }

  #find(rule: string, client: string): LogEntry {
    const known = this.#entries.get(rule)?.get(client)
    if (known) return known
    if (this.#pairs >= MAX_PAIRS) {
      this.#entries = new Map()
      this.#pairs = 0
    }
    this.#pairs++
    const entry = { loggedAtMs: Number.NEGATIVE_INFINITY, suppressed: 0 }
    const clients = this.#entries.get(rule)
    if (clients) clients.set(client, entry)
    else this.#entries.set(rule, new Map([[client, entry]]))
    return entry
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
  return text !== undefined && text.length > MAX_SHOWN_CHARS ? `${text.slice(0, MAX_SHOWN_CHARS)}…` : text
}
