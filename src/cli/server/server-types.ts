import type { Logger } from 'pino'
import type { AdminServerOptions, ServerCheck } from '../../admin/index.ts'
import type { Dialect, Gate, MetricFamily, MetricSources } from '../../index.ts'
import type { LoadedPolicy } from '../../policy/index.ts'
import type { ReloadableFiles } from '../access/access-files.ts'
import type { LiveCaptureOptions } from '../capture/live-capture-options.ts'
import type { ListenerPorts } from '../listeners/open-listeners.ts'
import type { Monitoring, MonitoringOptions } from '../monitoring/start-monitoring.ts'
import type { AdminOptions } from './start-admin.ts'

/** Maximum time for held messages to pass at shutdown. */
export const MAX_DRAIN_MS = 5_000

/** Options of the commands that serve clients: broker and gateway. */
export interface ServerOptions extends MonitoringOptions, ListenerPorts {
  readonly policy: readonly string[]
  readonly host: string
  /** Default: no health server. */
  readonly healthPort: number | undefined
  readonly logLevel: string
  readonly json: boolean
  /** Default: no admin server. */
  readonly admin: AdminOptions | undefined
  readonly trustProxy: readonly string[]
  readonly proxyProtocol: boolean
  /** Default: 1 MiB. */
  readonly maxPacketBytes: number | undefined
  /** Records the messages that are decided. Default: none. */
  readonly capture: LiveCaptureOptions | undefined
  /** Processes that serve clients. Default: this one. */
  readonly workers: number | undefined
}

type ServerStats = { readonly connections: number; readonly held: number }

export interface RunningServer extends ListenerPorts {
  readonly protocol: Dialect
  /** Limiter of the broker, or the gateway. */
  readonly limits: NonNullable<AdminServerOptions['broker']> &
    NonNullable<MetricSources['guards']>[number] & { stats(): ServerStats }
  /** Returns false if clients cannot be served now. */
  isServing(): boolean
  collectMetrics(): readonly MetricFamily[]
  /** Reads the counts of other processes, so that metrics are of now. */
  refresh?(): Promise<void>
  /** Applies a policy that this process has applied to the other processes. */
  applyPolicy?(policy: LoadedPolicy): Promise<void>
  /** Checks of `topicgate doctor`, such as of certificates or of the broker behind a gateway. */
  runChecks?(): readonly ServerCheck[] | Promise<readonly ServerCheck[]>
  /** Stops accepting connections, lets held messages pass for at most `drainMs`, then disconnects all clients. */
  close(drainMs: number): Promise<void>
}

/** Counts of all decisions, to which a server adds those of other processes. */
export type DecisionCounters = Pick<Monitoring, 'analytics' | 'durations' | 'node'>

/** A server whose files have been read. */
export interface PreparedServer {
  /** Files to read again when they change. */
  readonly files: readonly ReloadableFiles[]
  start(gate: Gate, monitoring: DecisionCounters): Promise<RunningServer>
}

/** Reads the files of a server. */
export type ServerPreparation = (log: Logger) => Promise<PreparedServer>
