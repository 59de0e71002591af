/** Maximum of what a broker stores for its clients. */
export interface PersistenceLimitOptions {
  /** Retained messages. */
  readonly maxRetained: number
  /** Bytes of their topics and payloads. */
  readonly maxRetainedBytes: number
  /** Persistent sessions. */
  readonly maxSessions: number
  /** Queued messages of one session. */
  readonly maxQueuedMessages: number
  /** Bytes of the queued messages of all sessions. */
  readonly maxQueuedBytes: number
}

export const DEFAULT_PERSISTENCE_LIMITS: PersistenceLimitOptions = {
  maxRetained: 100_000,
  maxRetainedBytes: 268_435_456,
  maxSessions: 100_000,
  maxQueuedMessages: 10_000,
  maxQueuedBytes: 268_435_456,
}
