import type { Decision, Outcome } from '../core/decision.ts'
import { isPromise } from '../core/maybe-promise.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { Gate } from '../gate/gate.ts'
import type { Guard, SenderQueue } from '../guard/guard.ts'

/** Largest message, in bytes, that is decided only once it has arrived as a whole. */
export const MAX_WHOLE_MESSAGE_BYTES = 16_384

/** Outcomes that need no more of a message than its topic. */
const FINAL: ReadonlySet<Outcome> = new Set(['drop', 'reject', 'disconnect'])

/**
 * Decides about large messages of a client while they arrive, from topic and size. Their bytes then pass or are discarded
 * as they come. A message that is held or changed is needed as a whole; its decision is stored until then.
 */
export class EarlyDecision {
  readonly #gate: Gate
  readonly #guard: Guard
  readonly #queue: SenderQueue
  #pendingDecision: MaybePromise<Decision> | undefined

  constructor(gate: Gate, guard: Guard, queue: SenderQueue) {
    this.#gate = gate
    this.#guard = guard
    this.#queue = queue
  }

  /** Returns true if an incomplete packet may be decided. A message that would wait behind others is needed as a whole. */
  canDecide(packetBytes: number): boolean {
    return (
      packetBytes > MAX_WHOLE_MESSAGE_BYTES &&
      this.#pendingDecision === undefined &&
      this.#queue.pending === 0 &&
      !this.#gate.usesPayload('publish')
    )
  }

  /**
   * Decides about an incomplete message. Returns the decision if it is to be enacted now; else stores it. `canPass` is
   * false if the message cannot be forwarded as it comes.
   */
  decide(message: Message, canPass: boolean): Decision | undefined {
    const answer = this.#guard.ask(message)
    if (!isPromise(answer) && (answer.outcome === 'deliver' ? canPass : FINAL.has(answer.outcome)))
      return answer
    this.#pendingDecision = answer
    return undefined
  }

  /** Removes and returns the decision stored for the message that is complete now. */
  takePendingDecision(): MaybePromise<Decision> | undefined {
    const pending = this.#pendingDecision
    this.#pendingDecision = undefined
    return pending
  }
}
