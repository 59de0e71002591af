import type { Verdict } from '../../algorithms/limit.ts'
import { systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Step } from './script-args.ts'
import type { ScriptRunner } from './script-runner.ts'

/** Maximum concurrent calls per slot: enough that neither side waits for the other. */
const CALLS_IN_FLIGHT = 4
/**
 * Round trip per additional concurrent call to a distant server. Why: messages would otherwise wait two round trips.
 */
const DISTANT_MS = 20
const MS_PER_CALL = 4
const MOST_CALLS_IN_FLIGHT = 64

interface Waiting {
  readonly step: Step
  readonly deadlineMs: number
  resolve(verdicts: readonly Verdict[]): void
  reject(error: unknown): void
}

/**
 * Pipelines of steps to Redis, one per slot, in order. Steps of one tick, or those that arrive while enough calls are
 * pending, are sent in one call.
 */
export class SlotPipelines {
  readonly #scriptRunner: ScriptRunner
  readonly #slotPipelines = new Map<number, SenderQueue>()
  #pending = 0

  constructor(scriptRunner: ScriptRunner) {
    this.#scriptRunner = scriptRunner
  }

  /** Number of steps that wait for an answer. */
  get pending(): number {
    return this.#pending
  }

  /** Queues a step. Rejects with StoreError, at once if too many are waiting. */
  ask(slot: number, step: Step, deadlineMs: number): Promise<readonly Verdict[]> {
    if (this.#pending >= MAX_SIZES.storePending) {
      return Promise.reject(new StoreError(`redis: ${MAX_SIZES.storePending} decisions are waiting already`))
    }
    let senderQueue = this.#slotPipelines.get(slot)
    if (senderQueue === undefined) {
      senderQueue = { slot, waiting: [], calls: 0, isScheduled: false }
      this.#slotPipelines.set(slot, senderQueue)
    }
    const { waiting } = senderQueue
    this.#pending++
    const answer = new Promise<readonly Verdict[]>((resolve, reject) => {
      waiting.push({ step, deadlineMs, resolve, reject })
    })
    if (!senderQueue.isScheduled && this.#hasRoom(senderQueue)) this.#schedule(senderQueue)
    return answer
  }

  #schedule(senderQueue: SenderQueue): void {
    senderQueue.isScheduled = true
    queueMicrotask(() => {
      senderQueue.isScheduled = false
      while (senderQueue.waiting.length > 0 && this.#hasRoom(senderQueue)) this.#call(senderQueue)
    })
  }

  #hasRoom({ slot, calls }: SenderQueue): boolean {
    if (calls < CALLS_IN_FLIGHT) return true
    const tripMs = this.#scriptRunner.roundTripMs(slot)
    const most = CALLS_IN_FLIGHT + Math.ceil(tripMs / MS_PER_CALL)
    return tripMs >= DISTANT_MS && calls < Math.min(MOST_CALLS_IN_FLIGHT, most)
  }

  #call(senderQueue: SenderQueue): void {
    const batch = takeBatch(senderQueue.waiting)
    senderQueue.calls++
    const answered = this.#scriptRunner.ask(
      senderQueue.slot,
      batch.map(({ step }) => step),
      // The first has waited longest.
      batch[0]!.deadlineMs,
    )
    const settle = (each: (waiting: Waiting, index: number) => void): void => {
      senderQueue.calls--
      this.#pending -= batch.length
      batch.forEach(each)
      if (senderQueue.waiting.length > 0) this.#schedule(senderQueue)
      else if (senderQueue.calls === 0) this.#slotPipelines.delete(senderQueue.slot)
    }
    answered.then(
      answers => settle((waiting, index) => waiting.resolve(answers[index]!)),
      error => settle(waiting => waiting.reject(error)),
    )
  }
}

interface SenderQueue {
  readonly slot: number
  waiting: Waiting[]
  calls: number
  isScheduled: boolean
}

/** Takes the first waiting steps that fit in one call: the same time, at most the batch size. */
function takeBatch(waiting: Waiting[]): readonly Waiting[] {
  const { nowMs } = waiting[0]!.step
  let count = 0
  let charges = 0
  while (count < waiting.length && count < MAX_SIZES.callMessages) {
    const { step } = waiting[count]!
    charges += step.charges.length
    if (step.nowMs !== nowMs || (count > 0 && charges > MAX_SIZES.callCharges)) break
    count++
  }
  return waiting.splice(0, count)
}

/** Returns the deadline of a call that starts now. */
export function deadlineIn(timeoutMs: number): number {
  return systemClock.now() + timeoutMs
}
