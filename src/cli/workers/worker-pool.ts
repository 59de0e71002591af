import cluster, { type Worker as ClusterWorker } from 'node:cluster'
import { BackOff } from '../../core/back-off.ts'
import type { Clock } from '../../core/clock.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import type { Logger } from '../../index.ts'
import { CommandError, EXIT, ReportedError } from '../terminal/command-error.ts'
import { ProcessChannel } from './process-channel.ts'
import {
  type PrimaryApi,
  WORKER_VARIABLE,
  type WorkerApi,
  type WorkerListeners,
  type WorkerReport,
} from './worker-api.ts'

const CALL_TIMEOUT_MS = 2_000
/** A worker that served for this long is restarted without a longer wait than before. */
const STABLE_MS = 10_000
const BACK_OFF = { fromMs: 100, toMs: 30_000 }

/** A started worker process. */
export interface WorkerProcess {
  readonly number: number
  readonly channel: ProcessChannel<WorkerApi, PrimaryApi>
  readonly process: ClusterWorker['process']
  /** Its last report, and one that is being read. */
  lastReport: WorkerReport | undefined
  readingReport: Promise<void> | undefined
}

export interface WorkerPoolOptions {
  readonly workers: number
  readonly clock: Clock
  readonly logger: Logger
  settings(number: number): ReturnType<PrimaryApi['settings']>
  readonly store: PrimaryApi['store']
  /** Called when a worker that served clients has ended. */
  onEnd(worker: WorkerProcess): void
}

/**
 * Starts worker processes and restarts those that end, after a random wait that grows while they keep failing. Listening
 * sockets belong to the primary, which hands connections to the workers in turn.
 */
export class WorkerPool {
  readonly #options: WorkerPoolOptions
  readonly #ready = new Map<number, WorkerProcess>()
  readonly #processes = new Map<number, ClusterWorker>()
  #restarts = 0
  #isStopping = false

  constructor(options: WorkerPoolOptions) {
    this.#options = options
    cluster.setupPrimary({ serialization: 'advanced' })
  }

  /** Workers that serve clients. */
  get running(): readonly WorkerProcess[] {
    return [...this.#ready.values()]
  }

  get restarts(): number {
    return this.#restarts
  }

  /**
   * Starts all workers. Returns protocol and ports, once all serve clients. Rejects with ReportedError if one fails, whose output
   * tells why.
   */
  async start(): Promise<WorkerListeners> {
    // The first alone: of an error that all have, such as a port in use, one copy is enough.
    const listeners = await this.#startOne(1, new BackOff(BACK_OFF))
    const others = Array.from({ length: this.#options.workers - 1 }, (_, index) =>
      this.#startOne(index + 2, new BackOff(BACK_OFF)),
    )
    await Promise.all(others)
    return listeners
  }

  /** Asks all workers that serve clients. Skips those that fail or do not answer in time. */
  async askAll<T>(ask: (worker: WorkerProcess) => Promise<T>): Promise<readonly T[]> {
    const { clock, logger } = this.#options
    const answers = await Promise.all(
      this.running.map(async worker => {
        try {
          return [await withTimeout(clock, CALL_TIMEOUT_MS, () => ask(worker))]
        } catch (err) {
          // One that has ended is started again, with the policy in force.
          if (this.#ready.get(worker.number) === worker)
            logger.warn({ err, worker: worker.number }, 'a worker did not answer')
          return []
        }
      }),
    )
    return answers.flat()
  }

  /** Stops all workers; kills those that have not ended after `timeoutMs`. */
  async stop(timeoutMs: number): Promise<void> {
    this.#isStopping = true
    const ended = [...this.#processes.values()].map(
      ({ process }) => new Promise<void>(resolve => process.once('exit', () => resolve())),
    )
    for (const { channel } of this.running) channel.call('stop').catch(() => {})
    for (const [number, worker] of this.#processes)
      if (!this.#ready.has(number)) worker.process.kill('SIGKILL')
    const cancel = this.#options.clock.after(timeoutMs, () => {
      for (const { process } of this.#processes.values()) process.kill('SIGKILL')
    })
    await Promise.all(ended)
    cancel()
  }

  /** Starts a worker. Resolves when it serves clients. */
  #startOne(number: number, backOff: BackOff): Promise<WorkerListeners> {
    const { clock, settings, store, logger } = this.#options
    const worker = cluster.fork({ [WORKER_VARIABLE]: String(number) })
    this.#processes.set(number, worker)
    return new Promise((resolve, reject) => {
      let readyAtMs: number | undefined
      const channel = new ProcessChannel<WorkerApi, PrimaryApi>(worker.process, {
        settings: () => settings(number),
        ready: listeners => {
          readyAtMs = clock.now()
          this.#ready.set(number, running)
          logger.info({ worker: number, pid: worker.process.pid }, 'a worker serves clients')
          resolve(listeners)
        },
        store,
      })
      const running: WorkerProcess = {
        number,
        channel,
        process: worker.process,
        lastReport: undefined,
        readingReport: undefined,
      }
      worker.process.once('exit', (code, signal) => {
        this.#processes.delete(number)
        if (readyAtMs === undefined) {
          reject(startError(code, signal))
          return
        }
        this.#ready.delete(number)
        this.#options.onEnd(running)
        if (this.#isStopping) return
        if (clock.now() - readyAtMs >= STABLE_MS) backOff.reset()
        logger.error({ worker: number, code, signal }, 'a worker has ended; another takes its place')
        this.#restartLater(number, backOff)
      })
    })
  }

  #restartLater(number: number, backOff: BackOff): void {
    const { clock } = this.#options
    clock.after(backOff.nextMs(), () => {
      if (this.#isStopping) return
      this.#restarts++
      this.#startOne(number, backOff).catch(() => {
        if (!this.#isStopping) this.#restartLater(number, backOff)
      })
    })
  }
}

function startError(code: number | null, signal: string | null): Error {
  if (code !== null && code !== EXIT.fine) return new ReportedError(code)
  return new CommandError(`a worker ended while it started (${signal ?? `exit code ${code}`})`, EXIT.failed)
}
