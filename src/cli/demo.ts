import { packageFile } from '../core/package-files.ts'
import { Gate, MemoryStore, type PolicySource } from '../index.ts'
import { loadPolicy } from '../policy/index.ts'
import { EXIT } from './command-error.ts'
import { Fleet } from './demo-fleet.ts'
import {
  type DemoState,
  renderDemo,
  renderDemoJson,
  renderDemoLine,
  renderSummary,
  WHAT_IS_SEEN,
} from './demo-view.ts'
import { LiveScreen } from './live-screen.ts'
import { startMqttServer } from './mqtt-server.ts'
import { findPolicyFiles } from './policy-files.ts'
import { RuleCounts } from './rule-counts.ts'
import { StopSignal } from './stop-signal.ts'
import { paintFor, type Terminal } from './terminal.ts'

const DRAW_EVERY_MS = 250
const TELL_EVERY_MS = 1_000
/** How long the last messages of quiet devices may take. */
const SETTLE_MS = 5_000

export interface DemoOptions {
  /** Default: the policy for fleets that comes with the package. */
  readonly policy: readonly string[]
  /** Default: until SIGINT or SIGTERM. */
  readonly forMs?: number | undefined
  /** What all rules do with too much; default: as the policy says. */
  readonly outcome?: 'drop' | 'throttle' | undefined
  readonly json: boolean
}

/**
 * Shows a limited broker at work, on a free port of this machine and with clients of its own. Exit code 1 when a
 * quiet device lost a message or one came out of order.
 */
export async function demo(options: DemoOptions, terminal: Terminal): Promise<number> {
  const given = options.policy.length > 0 ? options.policy : [packageFile('config/fleet.yaml')]
  const policy = await findPolicyFiles(given, terminal.env)
  const gate = await Gate.fromPolicy(await withOutcome(policy, options.outcome, terminal), {
    env: terminal.env,
    store: new MemoryStore(),
  })
  const stop = new StopSignal()
  const closing: (() => Promise<void>)[] = [() => gate.close()]
  try {
    const server = await startMqttServer({ gate, host: '127.0.0.1', port: 0 })
    closing.unshift(() => server.close(0))
    const fleet = await Fleet.connect(server.port)
    closing.unshift(() => fleet.close())
    // Counted from here on: the fleet's own connects are no news.
    const counts = new RuleCounts(gate)
    const beginMs = performance.now()
    const look = (): DemoState => ({
      atMs: performance.now() - beginMs,
      port: server.port,
      policy,
      fleet: fleet.stats(),
      rules: counts.list(),
      held: server.limits.stats().held,
    })
    const end = showLive(look, options.json, terminal)
    fleet.start()
    await until(stop, options.forMs)
    await fleet.settle(SETTLE_MS)
    const state = look()
    end(state)
    const { sent, delivered, disordered } = state.fleet
    return delivered === sent && disordered === 0 ? EXIT.fine : EXIT.failed
  } finally {
    stop.release()
    for (const close of closing) await close()
  }
}

/** The policy, with the `exceeded` of all its rules replaced where an outcome is asked for. */
async function withOutcome(
  files: readonly string[],
  outcome: DemoOptions['outcome'],
  { env }: Terminal,
): Promise<PolicySource> {
  if (outcome === undefined) return files
  const { document } = await loadPolicy(files, { env })
  return { ...document, rules: document.rules?.map(rule => ({ ...rule, exceeded: outcome })) }
}

/** Shows the state now and then; the returned function shows the last one. */
function showLive(look: () => DemoState, json: boolean, terminal: Terminal): (last: DemoState) => void {
  const { stdout, env } = terminal
  const paint = paintFor(stdout, env)
  if (stdout.isTTY === true && !json) {
    const live = new LiveScreen(stdout)
    const timer = setInterval(() => live.draw(renderDemo(look(), paint)), DRAW_EVERY_MS)
    return last => {
      clearInterval(timer)
      live.draw([...renderDemo(last, paint), '', ...renderSummary(last, paint)])
    }
  }
  if (!json) stdout.write(`${WHAT_IS_SEEN}\n`)
  const timer = setInterval(() => {
    stdout.write(`${json ? renderDemoJson(look(), false) : renderDemoLine(look())}\n`)
  }, TELL_EVERY_MS)
  return last => {
    clearInterval(timer)
    stdout.write(`${json ? renderDemoJson(last, true) : renderSummary(last, paint).join('\n')}\n`)
  }
}

async function until(stop: StopSignal, ms: number | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<void>(resolve => {
    if (ms !== undefined) timer = setTimeout(resolve, ms)
  })
  await Promise.race([stop.received, over])
  clearTimeout(timer)
}
