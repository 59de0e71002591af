import { systemClock } from '../../core/clock.ts'
import type { Emitting } from './redis-client-types.ts'

/** Longest time from the connection until the server is ready, including the password check. */
const READY_MS = 2_000

/** Connection state of a client, derived from its events. */
export interface RedisConnectionState {
  /** Returns the last error while the connection is not ready. */
  problem(): string | undefined
  end(): void
}

/**
 * Watches a client that connects by itself. Calls `stuck` if a server accepts a connection but is not ready in time;
 * `stuck` returns the cause if it knows one. Why: no Redis client limits that time.
 */
export function watchRedisHandshake(
  client: Emitting,
  isReady: () => boolean,
  stuck: () => string | undefined,
): RedisConnectionState {
  let problem: string | undefined
  let cancel = (): void => {}
  const onError = (error: unknown): void => {
    const cause = causeOf(error)
    // Errors that only report a lost connection say nothing about the cause.
    if (!isConnectionLostError(cause)) problem = cause
    else problem ??= 'the connection was lost'
  }
  const onConnect = (): void => {
    cancel()
    cancel = systemClock.after(READY_MS, () => {
      if (isReady()) return
      const silence = `the server accepted the connection and was silent for ${READY_MS} ms`
      problem = stuck() ?? silence
    })
  }
  const onReady = (): void => {
    cancel()
    problem = undefined
  }
  const onClose = (): void => {
    cancel()
    problem ??= 'the connection was closed'
  }
  const listeners = { error: onError, connect: onConnect, ready: onReady, close: onClose, end: onClose }
  for (const [event, listener] of Object.entries(listeners)) client.on(event, listener)
  return {
    problem: () => problem,
    end() {
      cancel()
      for (const [event, listener] of Object.entries(listeners)) client.removeListener(event, listener)
    },
  }
}

/** Returns true if an error only reports that a connection was lost before. */
export function isConnectionLostError(message: string): boolean {
  return /stream isn't writeable|connection is closed/i.test(message)
}

/** Returns the message of the innermost error, because clients wrap the server's or system's message. */
export function causeOf(error: unknown): string {
  const { message, code, lastNodeError, errors } = (error ?? {}) as {
    readonly message?: unknown
    readonly code?: unknown
    readonly lastNodeError?: unknown
    readonly errors?: readonly unknown[]
  }
  const inner = lastNodeError ?? errors?.[0]
  if (inner !== undefined) return causeOf(inner)
  return String(message || code || error).slice(0, 300)
}
