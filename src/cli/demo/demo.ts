import { packageFile } from '../../core/package-files.ts'
import { Gate, MemoryStore, type PolicySource } from '../../index.ts'
import { loadPolicy } from '../../policy/index.ts'
import { startMqttServer } from '../broker/mqtt-server.ts'
import { resolvePolicyFiles } from '../policy/resolve-policy-files.ts'
import type { RunningServer } from '../server/server-types.ts'
import { EXIT } from '../terminal/command-error.ts'
import { RedrawnLines } from '../terminal/redrawn-lines.ts'
import { paintFor, type Terminal } from '../terminal/terminal.ts'
import { TerminationSignalWaiter } from '../terminal/termination-signal-waiter.ts'
import type { UpstreamAddress } from '../upstreams/upstream.ts'
import { startDemoDashboard } from './demo-dashboard.ts'
import { DemoFleet } from './demo-fleet.ts'
import {
  DEMO_DESCRIPTION,
  type DemoState,
  renderDemo,
  renderDemoJson,
  renderDemoLine,
  renderDemoSummary,
} from './demo-view.ts'
import { RuleCounts } from './rule-counts.ts'

const DRAW_EVERY_MS = 250
const PRINT_EVERY_MS = 1_000
/** Maximum wait for the last messages of quiet devices. */
const LAST_MESSAGES_MS = 5_000

export interface DemoOptions {
  /** Default: the fleet policy of the package. */
  readonly policy: readonly string[]
  /** Default: until SIGINT or SIGTERM. */
  readonly forMs?: number | undefined
  /** Outcome of all rules; default: as in the policy. */
  readonly outcome?: 'drop' | 'throttle' | undefined
  /** Serves the dashboard, too. */
  readonly ui: boolean
  readonly json: boolean
  /** Broker behind a gateway; default: a broker of its own. */
  readonly upstream?: UpstreamAddress | undefined
}

/**
 * Shows a limited broker with its own clients on a free local port. Exit code 1 if a quiet device lost a message or one
 * arrived out of order.
 */
export async function demo(options: DemoOptions, terminal: Terminal): Promise<number> {
  const given = options.policy.length > 0 ? options.policy : [packageFile('config/fleet.yaml')]
  const policy = await resolvePolicyFiles(given, terminal.env)
  const gate = await Gate.fromPolicy(await withOutcome(policy, options.outcome, terminal), {
    env: terminal.env,
    store: new MemoryStore(),
  })
  const stop = new TerminationSignalWaiter()
  const closing: (() => Promise<void>)[] = [() => gate.close()]
  try {
    const server = await startServer(gate, options.upstream)
    closing.unshift(() => server.close(0))
    const dashboard = options.ui ? await startDemoDashboard(gate, server.limits) : undefined
    if (dashboard !== undefined) closing.unshift(dashboard.close)
    const fleet = await DemoFleet.connect(server.port!, options.forMs ?? Infinity, terminal.env)
    closing.unshift(() => fleet.close())
    const counts = new RuleCounts(gate)
    const beginMs = performance.now()
    const readState = (): DemoState => ({
      atMs: performance.now() - beginMs,
      port: server.port!,
      policy,
      dashboard: dashboard?.url,
      fleet: fleet.stats(),
      rules: counts.list(),
      held: server.limits.stats().held,
    })
    const end = showLive(readState, options.json, terminal)
    await fleet.run(stop.received, LAST_MESSAGES_MS)
    const state = readState()
    end(state)
    const { sent, delivered, disordered } = state.fleet
    return delivered === sent && disordered === 0 ? EXIT.fine : EXIT.failed
  } finally {
    stop.release()
    for (const close of closing) await close()
  }
}

/** Starts a broker, or a gateway in front of one, at a free port of this machine. */
async function startServer(
  gate: Gate,
  upstream: UpstreamAddress | undefined,
): Promise<Pick<RunningServer, 'port' | 'limits' | 'close'>> {
  if (upstream === undefined) return startMqttServer({ gate, host: '127.0.0.1', port: 0 })
  const { startLocalGateway } = await import('../gateway/start-gateway.ts')
  return startLocalGateway(gate, upstream)
}

/** Returns the policy, with `exceeded` of all rules replaced if an outcome is given. */
async function withOutcome(
  files: readonly string[],
  outcome: DemoOptions['outcome'],
  { env }: Terminal,
): Promise<PolicySource> {
  if (outcome === undefined) return files
  const { document } = await loadPolicy(files, { env })
  return { ...document, rules: document.rules?.map(rule => ({ ...rule, exceeded: outcome })) }
}

/** Shows the state periodically; the returned function shows the last one. */
function showLive(readState: () => DemoState, json: boolean, terminal: Terminal): (last: DemoState) => void {
  const { stdout, env } = terminal
  const paint = paintFor(stdout, env)
  const { dashboard } = readState()
  // Above the live view, which cuts long lines.
  if (dashboard !== undefined && !json) stdout.write(`dashboard: ${dashboard}\n`)
  if (stdout.isTTY === true && !json) {
    const live = new RedrawnLines(stdout)
    const timer = setInterval(() => live.draw(renderDemo(readState(), paint)), DRAW_EVERY_MS)
    return last => {
      clearInterval(timer)
      live.draw([...renderDemo(last, paint), '', ...renderDemoSummary(last, paint)])
    }
  }
  if (!json) stdout.write(`${DEMO_DESCRIPTION}\n`)
  const timer = setInterval(() => {
    stdout.write(`${json ? renderDemoJson(readState(), false) : renderDemoLine(readState())}\n`)
  }, PRINT_EVERY_MS)
  return last => {
    clearInterval(timer)
    stdout.write(`${json ? renderDemoJson(last, true) : renderDemoSummary(last, paint).join('\n')}\n`)
  }
}
