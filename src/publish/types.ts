import type { Decision } from '../core/decision.ts'
import type { Message } from '../core/message.ts'

/** Result of publishing a message. */
export interface Published {
  /**
   * `sent`: the server has acknowledged it, or it is written if there are no acknowledgements. `dropped`: see `why`.
   * `refused`: by the server, by a rule that rejects, or because the gate failed. `failed`: the message is not valid, or
   * the client could not send it.
   */
  readonly outcome: 'sent' | 'dropped' | 'refused' | 'failed'
  /**
   * Reason of `dropped`: no room, too old, superseded by a newer message of its topic, dropped by a rule, aborted by its
   * `signal`, or the publisher or its client was closed.
   */
  readonly why?: 'overflow' | 'expired' | 'superseded' | 'limited' | 'aborted' | 'closed' | undefined
  /** Number of times it was handed to the client. */
  readonly attempts: number
  readonly waitedMs: number
  /** Decision of the rule that refused it. */
  readonly decision?: Decision | undefined
  /** Error of the client, the server or the gate, for `failed` and `refused`. */
  readonly error?: unknown
}

/** Failure of the client to send a message. */
export interface SendFailure {
  readonly error: unknown
  /** True if the server asks to slow down. The message may be sent again later. */
  readonly slowDown: boolean
  /**
   * Time of another attempt without slowing down: `now` after a lost connection or answer, `later` if no server serves
   * the message at the moment.
   */
  readonly again?: 'now' | 'later' | undefined
}

/** Part of a broker's client that a publisher uses. */
export interface PublishTransport<C> {
  /** Returns true if it is connected, so that a message is sent at once instead of being kept. */
  isReady(): boolean
  /** Returns true if the client was ended. It sends nothing more unless it is asked to reconnect. */
  isEnded(): boolean
  /** Returns true if another message may be in flight. Called again whenever one is settled. */
  hasRoom(message: Message): boolean
  /** Hands a message to the client and calls back once with the result. Must not throw. */
  send(message: Message, clientData: C, decision: Decision, settle: (failure?: SendFailure) => void): void
  /** Fails all messages in flight. Because the client will not settle them. */
  failAll(error: Error): void
}

export interface PublisherStats {
  /** Messages and bytes (of payloads and topics) that wait. */
  readonly waiting: number
  readonly waitingBytes: number
  readonly waitingPeak: number
  /** Messages handed to the client and not settled. */
  readonly underWay: number
  readonly underWayPeak: number
  readonly sent: number
  readonly dropped: number
  readonly refused: number
  readonly failed: number
  /** Messages about which the gate failed. The fallback of its store decided, or they were refused. */
  readonly gateFailures: number
  /** Number of requests by the server to slow down, and the current limit in messages a second, if there is one. */
  readonly slowDowns: number
  readonly pacePerSecond: number | undefined
}

/** Options of a message in the publisher's queue. */
export interface PublishQueueOptions {
  readonly rank: number
  readonly latest: boolean
  readonly signal?: AbortSignal | undefined
}
