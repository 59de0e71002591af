import { systemClock } from '../../core/clock.ts'
import type { Emitting } from './client.ts'

/** The longest a server may take from the connection until it is ready: to check the password and the like. */
const READY_MS = 2_000

/** The connection of a client, as its events show it. */
export interface Handshake {
  /** What went wrong last, while it is not ready. */
  problem(): string | undefined
  end(): void
}

/**
 * Follows a client that connects by itself. Calls `stuck` when a server accepts a connection and is not ready in time,
 * as no client of Redis limits that time; it returns the cause if that is not silence.
 */
export function watchHandshake(
  client: Emitting,
  isReady: () => boolean,
  stuck: () => string | undefined,
): Handshake {
  let problem: string | undefined
  let cancel = (): void => {}
  const onError = (error: unknown): void => {
    const cause = causeOf(error)
    // What clients say of a connection they have lost tells nothing of why.
    if (!isConsequence(cause)) problem = cause
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

/** Whether an error only says that a connection was lost before. */
export function isConsequence(message: string): boolean {
  return /stream isn't writeable|connection is closed/i.test(message)
}

/** The words of the innermost error: clients wrap what a server or the system said. */
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
