import { randomBytes } from 'node:crypto'
import { systemClock } from '../../core/clock.ts'
import type { Gate, Logger } from '../../index.ts'
import { type LoadedPolicy, loadPolicy } from '../../policy/index.ts'
import { createPseudonymKey } from '../capture/captured-message.ts'
import type {
  DecisionCounters,
  PreparedServer,
  RunningServer,
  ServerOptions,
} from '../server/server-types.ts'
import { MergedWorkerCapture } from './merged-worker-capture.ts'
import { PrimaryStore } from './primary-store.ts'
import type { WorkerReport } from './worker-api.ts'
import { WorkerPool, type WorkerProcess } from './worker-pool.ts'
import { combineRates, keepCounters, keepCounts, pickStats, sumFamilies, sumStats } from './worker-totals.ts'

const REPORT_INTERVAL_MS = 1_000
/** Time that workers have to end, in addition to that of held messages. */
const END_TIMEOUT_MS = 5_000

/** Workers that are not started yet. */
export interface PreparedWorkers extends PreparedServer {
  /** Counters of all workers; undefined if the policy names a store that they open themselves. */
  readonly store: PrimaryStore | undefined
}

/** Prepares the processes that serve clients. Rejects with PolicyError for an invalid policy. */
export async function prepareWorkers(
  options: ServerOptions,
  policy: readonly (string | object)[],
  env: Readonly<Record<string, string | undefined>>,
  logger: Logger,
): Promise<PreparedWorkers> {
  const url = policy.length === 0 ? 'memory' : (await loadPolicy(policy, { env })).compiled.store.url
  const store = url === 'memory' ? new PrimaryStore(systemClock) : undefined
  // Each worker reads the other files, such as certificates, and watches them itself.
  return { store, files: [], start: (gate, counts) => startWorkers(options, gate, counts, store, logger) }
}

/** Starts the workers of a gate, and adds up what they count. */
async function startWorkers(
  options: ServerOptions,
  gate: Gate,
  counts: DecisionCounters,
  store: PrimaryStore | undefined,
  logger: Logger,
): Promise<RunningServer> {
  const { analytics, durations, node } = counts
  const workers = options.workers ?? 1
  const pseudonymKey = createPseudonymKey()
  const nodeIdPrefix = randomBytes(8).toString('hex')
  const nodeIdOf = (number: number): string => `${nodeIdPrefix}-${number}`
  let endedFamilies: WorkerReport['families'] = []
  let endedStats = pickStats({})
  const pool = new WorkerPool({
    workers,
    clock: gate.clock,
    logger,
    settings: number => ({
      number,
      workers,
      node: `${node} worker ${number}`,
      nodeId: nodeIdOf(number),
      policy: gate.policy && encodePolicy(gate.policy),
      usesPrimaryStore: store !== undefined,
      hasAdmin: options.admin !== undefined,
      pseudonymKey,
    }),
    store: request => store?.answer(request) ?? [],
    onEnd: ({ number, lastReport }) => {
      // Without an answer of the store, the worker is named until its last report expires.
      gate.removeNode(nodeIdOf(number)).catch(() => {})
      if (lastReport === undefined) return
      endedFamilies = sumFamilies([endedFamilies, keepCounters(lastReport.families)])
      endedStats = sumStats([endedStats, keepCounts(lastReport.stats)])
    },
  })
  const addReport = (worker: WorkerProcess, report: WorkerReport): void => {
    worker.lastReport = report
    analytics.add(report.analytics)
    durations.add(report.durations)
    for (const { sender, refusals } of report.refusals)
      for (const refusal of refusals) analytics.reportRefusals(refusal, refusal, sender, refusal.count)
  }
  const refresh = async (): Promise<void> => {
    await pool.askAll(worker => {
      // Counts of a late report are added when it comes.
      worker.readingReport ??= worker.channel
        .call('report')
        .then(report => addReport(worker, report))
        .finally(() => {
          worker.readingReport = undefined
        })
      return worker.readingReport
    })
  }
  let cancelReport: () => void = () => {}
  const scheduleReport = (): void => {
    cancelReport = gate.clock.after(REPORT_INTERVAL_MS, () => void refresh().then(scheduleReport))
  }
  const onHangUp = (): void => {
    for (const { process } of pool.running) process.kill('SIGHUP')
  }
  const unwatch = store?.sharedEntries.watch(
    () => void pool.askAll(({ channel }) => channel.call('entriesChanged')),
  )
  const close = async (drainMs: number): Promise<void> => {
    process.off('SIGHUP', onHangUp)
    cancelReport()
    await refresh()
    cancelReport()
    await pool.stop(drainMs + END_TIMEOUT_MS)
    unwatch?.close()
  }
  try {
    const listeners = await pool.start()
    process.on('SIGHUP', onHangUp)
    await refresh()
    scheduleReport()
    const lastReports = (): readonly WorkerReport[] =>
      pool.running.flatMap(({ lastReport }) => lastReport ?? [])
    return {
      ...listeners,
      limits: {
        capture: options =>
          new MergedWorkerCapture(gate.clock, options, {
            read: request => pool.askAll(({ channel }) => channel.call('readCapture', request)),
            end: () => void pool.askAll(({ channel }) => channel.call('endCapture')),
          }),
        stats: () => sumStats([endedStats, ...lastReports().map(({ stats }) => stats)]),
        senderOf: async clientId => {
          const found = await pool.askAll(({ channel }) => channel.call('senderOf', clientId))
          return found.find(sender => sender !== undefined)
        },
        measureSenders: async () =>
          combineRates(await pool.askAll(({ channel }) => channel.call('measureSenders'))),
      },
      isServing: () => lastReports().some(({ isServing }) => isServing),
      collectMetrics: () => [
        {
          name: 'topicgate_workers',
          help: 'Processes that serve clients.',
          type: 'gauge',
          samples: [{ labels: {}, value: pool.running.length }],
        },
        {
          name: 'topicgate_worker_restarts_total',
          help: 'Processes that were started in place of one that ended.',
          type: 'counter',
          samples: [{ labels: {}, value: pool.restarts }],
        },
        ...sumFamilies([endedFamilies, ...lastReports().map(({ families }) => families)]),
      ],
      runChecks: async () => {
        // All workers have the same files and brokers.
        const [first = []] = await pool.askAll(({ channel }) => channel.call('runChecks'))
        return first
      },
      refresh,
      applyPolicy: async policy => {
        if (store !== undefined && policy.compiled.store.url !== 'memory')
          logger.warn({}, 'the policy names another store, which is used after a restart')
        const encoded = encodePolicy(policy)
        await pool.askAll(({ channel }) => channel.call('applyPolicy', encoded))
      },
      close,
    }
  } catch (error) {
    await close(0)
    throw error
  }
}

/** Returns a policy as JSON in which no variables are substituted again. */
function encodePolicy({ document }: LoadedPolicy): string {
  return JSON.stringify(document).replaceAll('${', () => '$${')
}
