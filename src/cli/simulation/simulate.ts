import { readFile } from 'node:fs/promises'
import type { Decision } from '../../core/decision.ts'
import type { MaybePromise, Message } from '../../core/message.ts'
import { CapturedMessage, type CapturedMessageFields } from '../../core/message-from-fields.ts'
import { Gate, MemoryStore } from '../../index.ts'
import type { LevelPlotOptions } from '../plot/plot-flags.ts'
import { SenderLevels } from '../plot/sender-levels.ts'
import { resolvePolicyFiles } from '../policy/resolve-policy-files.ts'
import { ReplayEngine } from '../replay/replay-engine.ts'
import { ReplayTotals } from '../replay/replay-totals.ts'
import { VIRTUAL_SWEEP_MS, VirtualClock } from '../replay/virtual-clock.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { formatCount } from '../terminal/format.ts'
import { ProgressLine } from '../terminal/progress-line.ts'
import { type Terminal, write } from '../terminal/terminal.ts'
import { writeOutputFile } from '../terminal/write-output-file.ts'
import { CaptureWriter } from './capture-writer.ts'
import {
  describeSimulation,
  describeUnmet,
  findUnmetExpectations,
  type SimulationResult,
  simulationJson,
} from './describe-simulation.ts'
import type { FleetDocument } from './fleet-format.ts'
import { GroupCounts } from './group-counts.ts'
import { loadFleet, resolveFleetFile } from './load-fleet.ts'
import { runOnBroker } from './run-on-broker.ts'
import { type FleetEvent, reachesBroker, SimulatedFleet } from './simulated-fleet.ts'

/** Events between two looks at the progress. */
const SLICE_EVENTS = 50_000

export interface SimulateOptions {
  /** A fleet file, or the name of a ready fleet. */
  readonly fleet: string
  /** Files of a policy that decides the messages; none: they are only counted. */
  readonly policy: readonly string[]
  /** Address of a broker that devices connect to, in real time. */
  readonly broker?: string | undefined
  /** File for a capture of the messages; `-` is the standard output. */
  readonly capture?: string | undefined
  /** Default: those of the fleet. */
  readonly seed?: number | undefined
  readonly forMs?: number | undefined
  /** Writes a plot of one sender. It needs a policy. */
  readonly plot?: LevelPlotOptions | undefined
  readonly json: boolean
  /** Prints the fleet file instead. */
  readonly print: boolean
}

/**
 * Runs a fleet on a virtual clock: writes its messages as a capture, decides them with a policy, or counts them. The same
 * seed gives the same bytes. With a broker, runs it in real time. Exit code 1 if an expectation of the fleet is not met. Rejects with PolicyError for an invalid
 * fleet or policy.
 */
export async function simulate(options: SimulateOptions, terminal: Terminal): Promise<number> {
  const file = await resolveFleetFile(options.fleet)
  if (options.print) {
    await write(terminal.stdout, await readFile(file, 'utf8'))
    return EXIT.fine
  }
  if (options.broker !== undefined && options.policy.length > 0)
    throw new CommandError(
      '--broker and --policy exclude each other: a broker has its own policy',
      EXIT.usage,
    )
  if (options.plot !== undefined && options.policy.length === 0)
    throw new CommandError('--plot shows limits: add --policy policy.yaml', EXIT.usage)
  const written = await loadFleet(file, terminal.env)
  const document = { ...written, seed: options.seed ?? written.seed, for: options.forMs ?? written.for }
  const capture = options.capture === undefined ? undefined : new CaptureWriter(options.capture, terminal)
  let result: SimulationResult
  try {
    result =
      options.broker === undefined
        ? await runOnVirtualClock(document, options, capture, terminal)
        : await runInFrontOf(options.broker, document, capture, terminal)
  } finally {
    await capture?.close()
  }
  return report(result, options, terminal)
}

async function runInFrontOf(
  url: string,
  document: FleetDocument,
  capture: CaptureWriter | undefined,
  { stderr }: Terminal,
): Promise<SimulationResult> {
  const progress = new ProgressLine(stderr)
  try {
    const groups = await runOnBroker(document, url, capture, progress)
    return { document, groups, target: 'broker', rules: undefined }
  } finally {
    progress.clear()
  }
}

async function runOnVirtualClock(
  document: FleetDocument,
  { policy, plot }: SimulateOptions,
  capture: CaptureWriter | undefined,
  terminal: Terminal,
): Promise<SimulationResult> {
  if (policy.length === 0) {
    const groups = await runFleet(document, capture, undefined, terminal)
    return { document, groups, target: 'none', rules: undefined }
  }
  const clock = new VirtualClock()
  const files = await resolvePolicyFiles(policy, terminal.env)
  const store = new MemoryStore({ clock, sweepMs: VIRTUAL_SWEEP_MS })
  const gate = await Gate.fromPolicy(files, { clock, store, env: terminal.env, load: 'none' })
  try {
    const levels = plot && new SenderLevels(plot.sender)
    const decider = new FleetDecider(gate, clock, levels)
    const groups = await runFleet(document, capture, decider, terminal)
    if (plot !== undefined && levels !== undefined)
      await writeOutputFile(plot.file, 'the plot', levels.render())
    return { document, groups, target: 'policy', rules: decider.totals }
  } finally {
    await gate.close()
  }
}

async function runFleet(
  document: FleetDocument,
  capture: CaptureWriter | undefined,
  decider: FleetDecider | undefined,
  { stderr }: Terminal,
): Promise<GroupCounts> {
  const fleet = new SimulatedFleet(document)
  const groups = new GroupCounts(document.fleet)
  const progress = new ProgressLine(stderr)
  let events = 0
  try {
    for (let event = fleet.next(); event !== undefined; event = fleet.next()) {
      groups.recordEvent(event)
      if (reachesBroker(event)) {
        if (capture?.record(event, event.atMs)) await capture.flush()
        const answer = decider?.decide(event)
        const decision = answer instanceof Promise ? await answer : answer
        if (decision !== undefined) applyDecision(event, decision, fleet, groups)
      }
      if (++events % SLICE_EVENTS === 0) progress.show(() => `${formatCount(events)} events`)
    }
  } finally {
    progress.clear()
  }
  return groups
}

function applyDecision(
  { action, device, atMs }: FleetEvent,
  { allowed, outcome }: Decision,
  fleet: SimulatedFleet,
  groups: GroupCounts,
): void {
  if (allowed && action === 'publish') groups.of(device.group).delivered++
  // A throttled connect is only late.
  const isRefusedConnect = action === 'connect' && !allowed && outcome !== 'throttle'
  if (outcome === 'disconnect' || isRefusedConnect) fleet.loseConnection(device, atMs)
}

/** Decides messages of a fleet with a gate on a virtual clock. */
class FleetDecider {
  readonly totals: ReplayTotals
  readonly #gate: Gate
  readonly #engine: ReplayEngine
  readonly #levels: SenderLevels | undefined

  constructor(gate: Gate, clock: VirtualClock, levels: SenderLevels | undefined) {
    this.#gate = gate
    this.#levels = levels
    this.#engine = new ReplayEngine(gate, clock)
    this.totals = new ReplayTotals(gate.rules(), name => gate.ruleOf(name)?.isShadow === true)
  }

  decide({ atMs, device, action }: FleetEvent): MaybePromise<Decision> {
    const { sender, group, message: published } = device
    const fields: CapturedMessageFields =
      action === 'connect'
        ? { topic: 'connect', on: 'connect', sender }
        : { topic: published.topic, sender, size: published.size, qos: group.qos, retain: group.retain }
    const message = new CapturedMessage(fields, this.#gate.dialect)
    const answer = this.#engine.decide({ atMs, message, handled: undefined })
    // A function per message would cost more than its counts.
    if (answer instanceof Promise) return answer.then(decision => this.#record(atMs, message, decision))
    return this.#record(atMs, message, answer)
  }

  #record(atMs: number, message: Message, decision: Decision): Decision {
    this.totals.recordDecision(atMs, message, decision)
    this.#levels?.record(atMs, message, decision)
    return decision
  }
}

async function report(
  result: SimulationResult,
  { json, capture }: SimulateOptions,
  { stdout, stderr }: Terminal,
): Promise<number> {
  const text = json ? JSON.stringify(simulationJson(result)) : describeSimulation(result).join('\n')
  await write(capture === '-' ? stderr : stdout, `${text}\n`)
  const unmet = findUnmetExpectations(result)
  for (const each of unmet) await write(stderr, `${describeUnmet(each)}\n`)
  return unmet.length > 0 ? EXIT.failed : EXIT.fine
}
