import type { KeyInFlight } from '../chain/rules/in-flight.ts'
import { afterAwaited, type Clock, pause } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import { checkOptionNames, type OptionNames } from '../core/option-names.ts'
import type { HandlerMonitor, HandlerSlot } from './handler-monitor.ts'

/** Outcomes of a message that may pass later. */
const WAITS: ReadonlySet<string> = new Set(['throttle', 'queue', 'latest', 'retry'])
const LONGEST_WAIT_MS = 60_000

/** Options of `gate.run`. */
export interface RunOptions {
  /** Longest wait of a message for its limits and for a free handler slot. Default: 60,000. */
  readonly maxWaitMs?: number | undefined
}

const OPTIONS: OptionNames<RunOptions> = { maxWaitMs: true }

/** Result of `gate.run`: the handler's return value, or the decision that refused the message. */
export type RunResult<T> =
  | { readonly ran: true; readonly value: T; readonly decision: Decision }
  | { readonly ran: false; readonly decision: Decision }

/** The parts of a gate that `runLimited` uses. */
interface Runner {
  readonly clock: Clock
  readonly handlerMonitor: HandlerMonitor
  check(message: Message): MaybePromise<Decision>
}

/**
 * Checks a message, waits as its outcome requires, runs its handler within the `inFlight` limits, and reports
 * the result. Rejects with the error of the handler.
 */
export async function runLimited<T>(
  gate: Runner,
  message: Message,
  run: (decision: Decision) => MaybePromise<T>,
  options: RunOptions,
): Promise<RunResult<T>> {
  checkOptionNames(options, OPTIONS)
  const { maxWaitMs = LONGEST_WAIT_MS } = options
  const { clock, handlerMonitor } = gate
  const deadlineMs = clock.now() + maxWaitMs
  let decision = await gate.check(message)
  while (!decision.allowed) {
    const { outcome, retryAfterMs } = decision
    if (!WAITS.has(outcome) || clock.now() + retryAfterMs > deadlineMs) return { ran: false, decision }
    await pause(clock, Math.max(1, retryAfterMs))
    decision = await gate.check(message)
  }
  let slot: HandlerSlot | undefined
  if (handlerMonitor.isBounded) {
    const entered = await enter(gate, message, deadlineMs)
    if (!('leave' in entered)) return { ran: false, decision: entered }
    slot = entered
  }
  try {
    const value = await (handlerMonitor.isHeard
      ? handlerMonitor.watch(message, () => run(decision))
      : run(decision))
    return { ran: true, value, decision }
  } finally {
    slot?.leave()
  }
}

/** Waits for room under the `inFlight` limits. Returns the refusal if the message may not wait, or not long enough. */
function enter(
  { clock, handlerMonitor }: Runner,
  message: Message,
  deadlineMs: number,
): Promise<HandlerSlot | Decision> {
  return new Promise(resolve => {
    let refusal: Decision | undefined
    let cancelWait: (() => void) | undefined
    const cancelLate = afterAwaited(clock, Math.max(1, deadlineMs - clock.now()), () => {
      cancelWait?.()
      resolve(refusal!)
    })
    const attempt = (turn?: KeyInFlight): void => {
      const entered = handlerMonitor.enter(message, turn)
      if (!('leave' in entered) && entered.decision.outcome === 'throttle') {
        refusal = entered.decision
        cancelWait = entered.wait(attempt)
        return
      }
      cancelLate()
      resolve('leave' in entered ? entered : entered.decision)
    }
    attempt()
  })
}
