import type { KeyInFlight } from '../chain/rules/in-flight-slots.ts'
import { type Clock, sleep, startAwaitedTimer } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import type { HandlerMonitor, HandlerSlot } from './handler-monitor.ts'

/** Outcomes of a message that may pass later. */
const WAITING_OUTCOMES: ReadonlySet<string> = new Set(['throttle', 'queue', 'latest', 'retry'])
const DEFAULT_MAX_WAIT_MS = 60_000

/** Options of `gate.run`. */
export interface GateRunOptions {
  /** Longest wait of a message for its limits and for a free handler slot. Default: 60,000. */
  readonly maxWaitMs?: number | undefined
}

const OPTIONS: KnownOptions<GateRunOptions> = { maxWaitMs: true }

/** Result of `gate.run`: the handler's return value, or the decision that refused the message. */
export type HandlerRunResult<T> =
  | { readonly ran: true; readonly value: T; readonly decision: Decision }
  | { readonly ran: false; readonly decision: Decision }

/** The parts of a gate that `runMessageHandler` uses. */
interface RunHost {
  readonly clock: Clock
  readonly handlerMonitor: HandlerMonitor
  check(message: Message): MaybePromise<Decision>
  forgetPayload(message: Message): void
}

/**
 * Checks a message, waits as its outcome requires, runs its handler within the `inFlight` limits, and reports
 * the result. Rejects with the error of the handler.
 */
export async function runMessageHandler<T>(
  gate: RunHost,
  message: Message,
  run: (decision: Decision) => MaybePromise<T>,
  options: GateRunOptions,
): Promise<HandlerRunResult<T>> {
  checkOptionNames(options, OPTIONS)
  const { maxWaitMs = DEFAULT_MAX_WAIT_MS } = options
  const { clock, handlerMonitor } = gate
  const deadlineMs = clock.now() + maxWaitMs
  let decision = await gate.check(message)
  while (!decision.allowed) {
    const { outcome, retryAfterMs } = decision
    if (!WAITING_OUTCOMES.has(outcome) || clock.now() + retryAfterMs > deadlineMs)
      return { ran: false, decision }
    await sleep(clock, Math.max(1, retryAfterMs))
    decision = await gate.check(message)
  }
  let slot: HandlerSlot | undefined
  if (handlerMonitor.hasInFlightLimits) {
    const result = await waitForSlot(gate, message, deadlineMs)
    if (!('release' in result)) {
      gate.forgetPayload(message)
      return { ran: false, decision: result }
    }
    slot = result
  }
  try {
    const value = await (handlerMonitor.isUsed
      ? handlerMonitor.measure(message, () => run(decision))
      : run(decision))
    return { ran: true, value, decision }
  } catch (cause) {
    gate.forgetPayload(message)
    throw cause
  } finally {
    slot?.release()
  }
}

/** Waits for room under the `inFlight` limits. Returns the refusal if the message may not wait, or not long enough. */
function waitForSlot(
  { clock, handlerMonitor }: RunHost,
  message: Message,
  deadlineMs: number,
): Promise<HandlerSlot | Decision> {
  return new Promise(resolve => {
    let refusal: Decision | undefined
    let cancelWait: (() => void) | undefined
    const cancelLate = startAwaitedTimer(clock, Math.max(1, deadlineMs - clock.now()), () => {
      cancelWait?.()
      resolve(refusal!)
    })
    const attempt = (keyInFlight?: KeyInFlight): void => {
      const result = handlerMonitor.beginHandler(message, keyInFlight)
      if (!('release' in result) && result.decision.outcome === 'throttle') {
        refusal = result.decision
        cancelWait = result.wait(attempt)
        return
      }
      cancelLate()
      resolve('release' in result ? result : result.decision)
    }
    attempt()
  })
}
