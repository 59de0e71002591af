import type { ServerCheck } from '../../admin/index.ts'
import type { CapturedLine, CaptureOptions } from '../../admin/state/message-capture.ts'
import type { RefusalHistory } from '../../admin/state/recent-refusals.ts'
import type { SenderRateReport } from '../../admin/state/sender-rates.ts'
import type { AnalyticsDelta } from '../../analytics/analytics.ts'
import type { Dialect, MetricFamily, Sender } from '../../index.ts'
import type { DurationCounts } from '../../metrics/decision-timer.ts'
import type { StoreAnswer, StoreRequest } from '../../stores/ipc/ipc-store-types.ts'
import type { ListenerPorts } from '../listeners/open-listeners.ts'
import type { WorkerStats } from './worker-totals.ts'

/** Environment variable that marks a process as a worker. */
export const WORKER_VARIABLE = 'TOPICGATE_WORKER'

/** Returns true in a process that a primary has started. */
export function isWorker(env: Readonly<Record<string, string | undefined>>): boolean {
  return env[WORKER_VARIABLE] !== undefined && process.send !== undefined
}

/** What a worker needs from the primary to start. */
export interface WorkerSettings {
  /** Number of the worker, from 1 on. A restarted worker has that of its predecessor. */
  readonly number: number
  readonly workers: number
  /** Name among the nodes of the store. */
  readonly node: string
  /** Identifies it there; the same for a restarted worker. */
  readonly nodeId: string
  /** Policy in force, as JSON; undefined if limiting is disabled. */
  readonly policy: string | undefined
  /** True if the counters are in the primary; false if the policy names a store that several processes can open. */
  readonly usesPrimaryStore: boolean
  /** True if an admin server shows refusals and confirmed changes. */
  readonly hasAdmin: boolean
  /** Key of the pseudonyms in captures of all workers. */
  readonly pseudonymKey: string
}

/** Counts of a worker since its last report, and its state now. */
export interface WorkerReport {
  readonly analytics: AnalyticsDelta
  readonly durations: DurationCounts
  readonly refusals: readonly RefusalHistory[]
  readonly stats: WorkerStats
  readonly families: readonly MetricFamily[]
  readonly isServing: boolean
}

/** A capture of the messages of all workers. */
export interface CaptureRequest extends CaptureOptions {
  readonly id: string
}

/** Lines of a capture since they were last read. */
export interface CapturedPart {
  readonly lines: readonly CapturedLine[]
  readonly isEnded: boolean
}

/** Functions of a worker that the primary calls. */
export interface WorkerApi {
  report(): WorkerReport
  applyPolicy(policy: string): Promise<void>
  /** Reports that another process may have changed a runtime entry. */
  entriesChanged(): void
  senderOf(clientId: string): Promise<Sender | undefined>
  measureSenders(): Promise<SenderRateReport>
  runChecks(): Promise<readonly ServerCheck[]>
  /** Reads a capture, which begins with the first call. */
  readCapture(request: CaptureRequest): CapturedPart
  endCapture(): void
  /** Lets held messages pass, disconnects all clients and ends the process. */
  stop(): void
}

/** Protocol and ports at which all workers serve clients. */
export interface WorkerListeners extends ListenerPorts {
  readonly protocol: Dialect
}

/** Functions of the primary that a worker calls. */
export interface PrimaryApi {
  settings(): WorkerSettings
  /** Reports that the worker serves clients at these ports. */
  ready(listeners: WorkerListeners): void
  store(request: StoreRequest): readonly StoreAnswer[]
}
