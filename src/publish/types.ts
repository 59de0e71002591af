import type { Decision } from '../core/decision.ts'
import type { Message } from '../core/message.ts'

/** What became of a message. */
export interface Published {
  /**
   * `sent`: the server has acknowledged it, or it is written where there are no acknowledgements. `dropped`: see `why`.
   * `refused`: by the server, by a rule that rejects, or because the gate failed. `failed`: it is no message that can be sent, or the client could not send it.
   */
  readonly outcome: 'sent' | 'dropped' | 'refused' | 'failed'
  /**
   * Of `dropped`: no room, too old, a newer one of its topic came, a rule drops it, its `signal` was aborted, the publisher or
   * its client was closed.
   */
  readonly why?: 'overflow' | 'expired' | 'superseded' | 'limited' | 'aborted' | 'closed' | undefined
  /** Times it was handed to the client. */
  readonly attempts: number
  readonly waitedMs: number
  /** The rule's answer, where one refused it. */
  readonly decision?: Decision | undefined
  /** The error of the client, the server or the gate, of `failed` and `refused`. */
  readonly error?: unknown
}

/** How the client fared with a message; undefined where all is well. */
export interface SendFailure {
  readonly error: unknown
  /** The server asks for less: it may be sent again, later. */
  readonly slowDown: boolean
  /**
   * It may be sent again, though nobody asks for less: `now`, where its connection or its answer was lost, or `later`, where no
   * server serves it for the moment.
   */
  readonly again?: 'now' | 'later' | undefined
}

/** A broker's client, as a publisher sees it. */
export interface Transport<C> {
  /** Connected; what would be sent now is not kept for later. */
  isReady(): boolean
  /** The client was ended: it sends nothing more, unless it is told to reconnect. */
  isEnded(): boolean
  /** Whether as much is under way as may be. Asked again whenever something has settled. */
  hasRoom(message: Message): boolean
  /** Hands a message to the client and calls back once with the result. Must not throw. */
  send(message: Message, cargo: C, decision: Decision, settle: (failure?: SendFailure) => void): void
  /** Settles all that is under way as failed: its client will not. */
  failAll(error: Error): void
}

export interface PublisherStats {
  /** Messages and bytes (of payloads and topics) that wait. */
  readonly waiting: number
  readonly waitingBytes: number
  readonly waitingPeak: number
  /** Handed to the client and not settled. */
  readonly underWay: number
  readonly underWayPeak: number
  readonly sent: number
  readonly dropped: number
  readonly refused: number
  readonly failed: number
  /** Messages about which the gate failed: the fallback of its store decided, or they were refused. */
  readonly gateFailures: number
  /** Times the server asked to slow down, and messages a second it may have now; undefined while it did not. */
  readonly slowDowns: number
  readonly pacePerSecond: number | undefined
}

/** What a message asks for besides being published. */
export interface QueuePlacement {
  readonly rank: number
  readonly latest: boolean
  readonly signal?: AbortSignal | undefined
}
