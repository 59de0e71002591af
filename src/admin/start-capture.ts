import { parseDuration } from '../core/units.ts'
import { AdminProblem } from './problem.ts'
import type { RouteContext } from './route.ts'
import { type CaptureOptions, MessageCapture, type RunningCapture } from './state/message-capture.ts'

const LONGEST_MS = 3_600_000

export interface CaptureStart extends Omit<CaptureOptions, 'forMs'> {
  /** Duration, as `60s`. */
  readonly for: string
  readonly reason: string
  /** For the audit log. */
  readonly note: object
}

/**
 * Starts the capture of the node, and records it in the audit log. It ends when the client is gone, or when its token is no
 * longer valid. Rejects with AdminProblem if one is running already.
 */
export async function startCapture(
  { reason, note, for: duration, ...options }: CaptureStart,
  { state, caller, ip, signal, isAuthorized }: RouteContext,
): Promise<RunningCapture> {
  const forMs = parseDuration(duration)
  if (forMs > LONGEST_MS) throw new AdminProblem(422, 'a capture takes at most 1h')
  if (state.capture !== undefined) throw new AdminProblem(409, 'a capture is running already')
  const captureOptions = { ...options, forMs }
  const running = state.broker?.capture?.(captureOptions) ?? new MessageCapture(state.gate, captureOptions)
  state.capture = running
  const end = (): void => {
    running.end()
    if (state.capture === running) state.capture = undefined
  }
  signal.addEventListener('abort', end, { once: true })
  const [atMs, by] = [state.gate.clock.now(), caller.name]
  state.audit.record({ kind: 'capture', action: 'started', id: 'messages', atMs, by, ip, reason, note })
  await state.audit.written()
  if (signal.aborted) end()
  return {
    async next() {
      const text = await running.next()
      const isOver = text === undefined || !isAuthorized()
      if (isOver) end()
      return isOver ? undefined : text
    },
    end,
  }
}
