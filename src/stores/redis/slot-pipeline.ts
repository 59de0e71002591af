import type { Verdict } from '../../algorithms/limit-types.ts'
import { systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { ScriptStep } from './script-args.ts'
import type { ScriptRunner } from './script-runner.ts'

/** Maximum concurrent calls per slot: enough that neither side waits for the other. */
const CALLS_IN_FLIGHT = 4
/**
 * Round trip per additional concurrent call to a distant server. Why: messages would otherwise wait two round trips.
 */
const MIN_DISTANT_MS = 20
const MS_PER_CALL = 4
const MAX_CALLS_IN_FLIGHT = 64

interface Waiting {
  readonly step: ScriptStep
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
  readonly #slotPipelines = new Map<number, SlotPipeline>()
  #pending = 0

  constructor(scriptRunner: ScriptRunner) {
    this.#scriptRunner = scriptRunner
  }

  /** Number of steps that wait for an answer. */
  get pending(): number {
    return this.#pending
  }

  /** Queues a step. Rejects with StoreError, at once if too many are waiting. */
  enqueue(slot: number, step: ScriptStep, deadlineMs: number): Promise<readonly Verdict[]> {
    if (this.#pending >= MAX_SIZES.pendingStoreDecisions) {
      return Promise.reject(
        new StoreError(`redis: ${MAX_SIZES.pendingStoreDecisions} decisions are already waiting`),
      )
    }
    let pipeline = this.#slotPipelines.get(slot)
    if (pipeline === undefined) {
      pipeline = { slot, waiting: [], calls: 0, isScheduled: false }
      this.#slotPipelines.set(slot, pipeline)
    }
    const { waiting } = pipeline
    this.#pending++
    const answer = new Promise<readonly Verdict[]>((resolve, reject) => {
      waiting.push({ step, deadlineMs, resolve, reject })
    })
    if (!pipeline.isScheduled && this.#hasRoom(pipeline)) this.#schedule(pipeline)
    return answer
  }

  #schedule(pipeline: SlotPipeline): void {
    pipeline.isScheduled = true
    queueMicrotask(() => {
      pipeline.isScheduled = false
      while (pipeline.waiting.length > 0 && this.#hasRoom(pipeline)) this.#sendBatch(pipeline)
    })
  }

  #hasRoom({ slot, calls }: SlotPipeline): boolean {
    if (calls < CALLS_IN_FLIGHT) return true
    const tripMs = this.#scriptRunner.roundTripMs(slot)
    const maxCalls = CALLS_IN_FLIGHT + Math.ceil(tripMs / MS_PER_CALL)
    return tripMs >= MIN_DISTANT_MS && calls < Math.min(MAX_CALLS_IN_FLIGHT, maxCalls)
  }

  #sendBatch(pipeline: SlotPipeline): void {
    const batch = takeBatch(pipeline.waiting)
    pipeline.calls++
    const answered = this.#scriptRunner.run(
      pipeline.slot,
      batch.map(({ step }) => step),
      // The first has waited longest.
      batch[0]!.deadlineMs,
    )
    const settleBatch = (each: (waiting: Waiting, index: number) => void): void => {
      pipeline.calls--
      this.#pending -= batch.length
      batch.forEach(each)
      if (pipeline.waiting.length > 0) this.#schedule(pipeline)
      else if (pipeline.calls === 0) this.#slotPipelines.delete(pipeline.slot)
    }
    answered.then(
      answers => settleBatch((waiting, index) => waiting.resolve(answers[index]!)),
      error => settleBatch(waiting => waiting.reject(error)),
    )
  }
}

interface SlotPipeline {
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
  while (count < waiting.length && count < MAX_SIZES.redisCallMessages) {
    const { step } = waiting[count]!
    charges += step.charges.length
    if (step.nowMs !== nowMs || (count > 0 && charges > MAX_SIZES.redisCallCharges)) break
    count++
  }
  return waiting.splice(0, count)
}

/** Returns the deadline of a call that starts now. */
export function deadlineIn(timeoutMs: number): number {
  return systemClock.now() + timeoutMs
}
