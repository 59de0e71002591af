import { cpus, totalmem } from 'node:os'
import { Gate, MemoryStore } from '../../index.ts'
import { loadPolicy } from '../../policy/index.ts'
import { resolvePolicyFiles } from '../policy/resolve-policy-files.ts'
import { EXIT } from '../terminal/command-error.ts'
import { type Terminal, write } from '../terminal/terminal.ts'
import { BenchClock, BenchRunner, measureMemory, measureTimer, type Speed } from './bench-measure.ts'
import { type BenchReport, describeBench } from './bench-report.ts'
import { makeTraffic } from './bench-traffic.ts'

export interface BenchOptions {
  readonly policy: readonly string[]
  readonly senders: number
  readonly forMs: number
  readonly json: boolean
}

/** Clock steps to try before each decision; the first step without refusals is used. */
const STEPS_MS = [0, 1, 10, 100, 1_000, 10_000, 60_000, 600_000, 3_600_000, 86_400_000]

/** Minimum senders for the memory measurement. */
const MIN_MEMORY_SENDERS = 50_000

/** Fractions of the senders to try: all, a tenth, a hundredth. */
const SENDER_FRACTIONS = [1, 10, 100]

/**
 * Measures decisions of a policy on this machine, with traffic generated from its patterns: speed of allowed and
 * refused ones, and memory. The clock is simulated, so that limits refill for allowed decisions and never for refused
 * ones.
 */
export async function bench(options: BenchOptions, terminal: Terminal): Promise<number> {
  const files = await resolvePolicyFiles(options.policy, terminal.env)
  const { compiled: policy } = await loadPolicy(files, { env: terminal.env })
  const traffic = makeTraffic(policy, options.senders)
  const show = (text: string): void => {
    if (terminal.stderr.isTTY === true) terminal.stderr.write(`\r\u001b[K${text}`)
  }
  // One share for the warm-up, two measurements of each kind, and the search for each kind.
  const shareMs = options.forMs / 6
  const withGate = async <T>(use: (gate: Gate, clock: BenchClock) => T): Promise<T> => {
    const clock = new BenchClock()
    const store = new MemoryStore({ clock })
    const gate = await Gate.fromPolicy(files, { clock, store, env: terminal.env, load: 'none' })
    try {
      return use(gate, clock)
    } finally {
      await gate.close()
    }
  }
  // Each gate gets senders of its own: a sender known to another gate is slower on each message.
  const withRunner = (measure: (runner: BenchRunner) => Speed | null): Promise<Speed | null> =>
    withGate((gate, clock) => measure(new BenchRunner(gate, clock, makeTraffic(policy, options.senders))))
  show('warming up')
  await withRunner(runner => measureAllowed(runner, shareMs / 4))
  show('allowed decisions')
  const allowed = await withRunner(runner => measureAllowed(runner, shareMs))
  show('refused decisions')
  const refused = await withRunner(runner => measureRefused(runner, shareMs))
  show('memory')
  const many = makeTraffic(policy, Math.max(options.senders, MIN_MEMORY_SENDERS))
  const memory = await withGate(gate => measureMemory(gate, many))
  show('')
  const report: BenchReport = {
    machine: describeMachine(),
    policy: { files, rules: policy.rules.length, exemptions: policy.exemptions.length },
    senders: options.senders,
    topics: new Set(traffic.flows.map(({ topic }) => topic)).size,
    timerNs: measureTimer(),
    allowed,
    refused,
    memory: memory ?? null,
  }
  const text = options.json ? JSON.stringify(report, null, 2) : describeBench(report).join('\n')
  await write(terminal.stdout, `${text}\n`)
  return EXIT.fine
}

/**
 * Advances the clock just fast enough for all to pass. Flows that can never pass, because of their cost, are left out.
 */
function measureAllowed(runner: BenchRunner, forMs: number): Speed | null {
  const passing = runner.indexes.filter(index => runner.decide(index).retryAfterMs !== Infinity)
  if (passing.length === 0) return null
  runner.pickFrom(passing)
  let last = 0
  for (const stepMs of STEPS_MS) {
    last = stepMs
    // Refill what was used with a smaller step.
    runner.run(forMs / 20, stepMs, 'allowed')
    const throughput = runner.run(forMs, stepMs, 'allowed', true)
    if (throughput.share === 1) return { ...throughput, ...runner.time(forMs, stepMs) }
  }
  const throughput = runner.run(forMs, last, 'allowed')
  return throughput.share === 0 ? null : { ...throughput, ...runner.time(forMs, last) }
}

/**
 * Stops the clock and sends until all senders are refused, or a tenth or hundredth of them if that takes too long.
 * Measures the refused ones.
 */
function measureRefused(runner: BenchRunner, forMs: number): Speed | null {
  let most: readonly number[] = []
  for (const part of SENDER_FRACTIONS) {
    const some = runner.indexes.filter(index => index % part === 0)
    const refused = exhaust(runner, some, forMs / SENDER_FRACTIONS.length)
    if (refused.length > most.length) most = refused
    if (refused.length === some.length) break
  }
  if (most.length === 0) return null
  runner.pickFrom(most)
  return { ...runner.run(forMs, 0, 'refused'), ...runner.time(forMs, 0) }
}

/** Sends until all are refused or time is up; returns the refused ones. */
function exhaust(runner: BenchRunner, indexes: readonly number[], forMs: number): readonly number[] {
  const end = performance.now() + forMs
  let refused: readonly number[] = []
  do {
    refused = indexes.filter(index => !runner.decide(index).allowed)
  } while (refused.length < indexes.length && performance.now() < end)
  return refused
}

function describeMachine(): BenchReport['machine'] {
  const cores = cpus()
  return {
    node: process.version,
    cpu: cores[0]?.model.trim() ?? 'unknown',
    cores: cores.length,
    memoryBytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
  }
}
