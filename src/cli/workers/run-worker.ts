import cluster from 'node:cluster'
import { Analytics, DecisionTimer, Gate, LeasedStore, type Sender, type Store } from '../../index.ts'
import { type PolicyWatch, watchPolicy } from '../../policy/index.ts'
import { IpcStore } from '../../stores/ipc/store.ts'
import { createLogger } from '../monitoring/log.ts'
import { logFileError, logGateWarnings } from '../monitoring/log-gate-events.ts'
import { prepareServer } from '../server/prepare-server.ts'
import {
  MAX_DRAIN_MS,
  type RunningServer,
  type ServerOptions,
  type ServerPreparation,
} from '../server/server-types.ts'
import { EXIT } from '../terminal/command-error.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { type ChannelPeer, ProcessChannel } from './process-channel.ts'
import { RunningWorker } from './running-worker.ts'
import type { PrimaryApi, WorkerApi, WorkerSettings } from './worker-api.ts'

/** The primary, as seen from a worker. */
const PRIMARY: ChannelPeer = {
  send: (message, callback) => process.send?.(message, undefined, undefined, callback),
  on: (event: 'message' | 'disconnect', listener: (message: unknown) => void) => process.on(event, listener),
}

/**
 * Longer than over a network. Why: a message that waits for a primary without a free core is copied and held, and a message
 * between the processes takes as much CPU time as ten messages of clients.
 */
const LEASE_SPAN_MS = 1_500

type PrimaryChannel = ProcessChannel<PrimaryApi, WorkerApi>

/** Serves clients for the primary that started this process, until it says to stop or is gone. Returns the exit code. */
export async function runWorker(
  options: ServerOptions,
  terminal: Terminal,
  prepare: ServerPreparation,
): Promise<number> {
  // Without this, Node ends the process as soon as the channel closes, with exit code 0.
  if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true
  // A terminal and systemd send these signals to all processes, but the primary decides when workers end.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
  let worker: RunningWorker | undefined
  const requireWorker = (): RunningWorker => {
    if (worker === undefined) throw new Error('the worker is starting')
    return worker
  }
  const entriesChanged = new Set<() => void>()
  let stop: () => void = () => {}
  const stopped = new Promise<void>(resolve => {
    stop = resolve
  })
  process.on('disconnect', stop)
  const channel: PrimaryChannel = new ProcessChannel(PRIMARY, {
    report: () => requireWorker().report(),
    applyPolicy: policy => requireWorker().gate.apply(JSON.parse(policy)),
    entriesChanged: () => {
      for (const listener of entriesChanged) listener()
    },
    senderOf: async clientId => copySender(await requireWorker().server.limits.senderOf?.(clientId)),
    measureSenders: () => requireWorker().rates.measure(),
    runChecks: async () => (await requireWorker().server.runChecks?.()) ?? [],
    readCapture: request => requireWorker().readCapture(request),
    endCapture: () => requireWorker().endCapture(),
    stop,
  })
  try {
    const settings = await channel.call('settings')
    const log = createLogger(options.logLevel, options.json, terminal).child({ worker: settings.number })
    const prepared = await prepareServer(options, settings, terminal, prepare, log)
    const store = settings.usesPrimaryStore ? openStore(channel, settings, entriesChanged) : undefined
    const { policy, node, nodeId, hasAdmin } = settings
    const gate =
      policy === undefined
        ? new Gate({ logger: log, store })
        : await Gate.fromPolicy(JSON.parse(policy), { env: terminal.env, logger: log, store })
    logGateWarnings(gate, log)
    const counts = { analytics: new Analytics({ gate }), durations: new DecisionTimer({ gate }), node }
    const membership = hasAdmin ? gate.joinNodes(node, nodeId) : undefined
    let server: RunningServer | undefined
    let watches: readonly PolicyWatch[] = []
    try {
      server = await prepared.start(gate, counts)
      worker = new RunningWorker(gate, server, counts, hasAdmin)
      watches = prepared.files.map(({ files, reload, name }) => {
        const onError = (error: unknown): void =>
          logFileError(log, error, `the ${name} was not reloaded, the old one stays`)
        return watchPolicy(files, reload, { onError })
      })
      const { protocol, port, wsPort, tlsPort, wssPort } = server
      await channel.call('ready', { protocol, port, wsPort, tlsPort, wssPort })
      await stopped
    } finally {
      for (const watch of watches) await watch.close()
      await server?.close(MAX_DRAIN_MS)
      counts.durations.close()
      counts.analytics.close()
      membership?.close()
      await gate.close()
      await store?.close()
    }
  } finally {
    // The channel would keep the process alive.
    if (process.connected) process.disconnect()
  }
  return EXIT.fine
}

/** Opens the store of the primary, with leases. */
function openStore(
  channel: PrimaryChannel,
  { workers }: WorkerSettings,
  entriesChanged: Set<() => void>,
): Store {
  const shared = new IpcStore({
    request: request => channel.call('store', request),
    onEntriesChanged: listener => {
      entriesChanged.add(listener)
      return () => void entriesChanged.delete(listener)
    },
  })
  return new LeasedStore({ store: shared, nodes: workers, spanMs: LEASE_SPAN_MS })
}

/** Copies the parts of a sender, because its object also has its counters. */
function copySender(sender: Sender | undefined): Sender | undefined {
  if (sender === undefined) return undefined
  const { client, user, device, apiKey, ip, roles, tier } = sender
  return { client, user, device, apiKey, ip, roles, tier }
}
