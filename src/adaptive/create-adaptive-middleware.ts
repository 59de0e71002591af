import type { Middleware } from '../chain/middleware-types.ts'
import { MIDDLEWARE_META } from '../chain/rules/create-limit-middleware.ts'
import type { ScaleMeta } from '../chain/rules/load-scaling.ts'
import { StateKeptAcrossReload } from '../chain/rules/reload-state.ts'
import { policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import { LoadMonitor, type LoadReport } from './load-monitor.ts'
import {
  DEFAULT_LEVELS,
  DEFAULT_SIGNAL_STAGES,
  type LoadLevelFactors,
  type LoadStageFactors,
  parseLoadLevels,
  parseStages,
} from './parse-levels.ts'
import {
  MACHINE_SIGNALS,
  optionalSignal,
  resolveSignal,
  type SignalPlan,
  type SignalWord,
} from './resolve-signal.ts'

export interface AdaptiveOptions {
  /**
   * Factors by level of load. Default: `{ low: '1.5 up to 30%', medium: '1 up to 70%', high: 0.5 }`, unless
   * stages are given.
   */
  readonly levels?: LoadLevelFactors | undefined
  /**
   * Reductions by signal, such as `{ cpu: { '60%': 0.75 } }`, or `default` for the predefined ones. The
   * smallest factor applies.
   */
  readonly stages?: 'default' | Readonly<Record<string, LoadStageFactors>> | undefined
  /** One additional signal. */
  readonly signal?: SignalWord | undefined
  /**
   * Signals to measure. The load is the highest of them. Default: cpu, memory, event-loop, unless `signal` is
   * given.
   */
  readonly signals?: readonly SignalWord[] | undefined
  /** Interval of measurements. Default: 10,000. */
  readonly everyMs?: number | undefined
  /**
   * Scope of the load: this `node`, or the highest of the `fleet`, all nodes of the gate's store. Nodes
   * exchange their load through the store. Default: node.
   */
  readonly across?: 'node' | 'fleet' | undefined
  /** Name of this node. Default: the host's name and the process id. */
  readonly node?: string | undefined
}

const OPTIONS: KnownOptions<AdaptiveOptions> = {
  levels: true,
  stages: true,
  signal: true,
  signals: true,
  everyMs: true,
  across: true,
  node: true,
}

/** An adaptive middleware that reports its load. */
export interface Adaptive extends Middleware {
  report(): LoadReport
}

const SHORTEST_MS = 10
const LONGEST_MS = 86_400_000
const NODE = /^[^\p{C}\p{Z}]{1,60}$/u

/**
 * Scales the limits after it in the list of `gate.use` by the load: `gate.use(adaptive(), limit({ … }))`. If
 * there are several, the nearest one before a limit applies. A limit never falls below 1, quotas and
 * exemptions are not scaled, and used units stay used. It belongs to one gate, which stops it. Throws
 * PolicyError.
 */
export function adaptive(options: AdaptiveOptions = {}): Adaptive {
  checkOptionNames(options, OPTIONS)
  const { everyMs = 10_000, stages = {}, across = 'node', node } = options
  if (!(Number.isSafeInteger(everyMs) && everyMs >= SHORTEST_MS && everyMs <= LONGEST_MS)) {
    throw policyError(
      'everyMs',
      `${everyMs} is not an interval`,
      `use whole milliseconds from ${SHORTEST_MS} to a day`,
    )
  }
  const levels = options.levels ?? (options.stages === undefined ? DEFAULT_LEVELS : undefined)
  if (across !== 'node' && across !== 'fleet')
    throw policyError('across', `${JSON.stringify(across)} is not a scope of load`, 'use node or fleet')
  if (node !== undefined && !(typeof node === 'string' && NODE.test(node)))
    throw policyError(
      'node',
      'the name of the node is empty, too long or has spaces or control characters',
      'write 1 to 60 visible characters',
    )
  const listed = signalsOf(options)
  const names = new Set(listed.map(({ name }) => name))
  if (names.size < listed.length)
    throw policyError('signals', 'two signals have one name', 'give each its own')
  const wanted = Object.entries(stages === 'default' ? DEFAULT_SIGNAL_STAGES : stages).filter(
    ([name]) => stages !== 'default' || names.has(name),
  )
  for (const [name] of wanted) {
    if (names.has(name)) continue
    throw policyError(
      `stages.${name}`,
      'there is no such signal',
      `add it to signals, or use ${[...names].join(', ')}`,
    )
  }
  const monitor = new LoadMonitor({
    signals: listed,
    levels: levels && parseLoadLevels(levels),
    stages: new Map(wanted.map(([name, each]) => [name, parseStages(name, each)])),
    everyMs,
    across,
    node,
  })
  const isPlain = [...(options.signals ?? []), options.signal ?? ''].every(
    word => typeof word === 'string' || !('read' in word || typeof word === 'function'),
  )
  // Functions cannot be compared by their text.
  const stateKey = isPlain
    ? JSON.stringify(['adaptive', levels, stages, options.signals, options.signal, everyMs, across, node])
    : undefined
  const state = new StateKeptAcrossReload(stateKey, monitor)
  const report = (): LoadReport => state.value.report()
  const meta: ScaleMeta = {
    kind: 'scale',
    enabled: true,
    priority: 0,
    across,
    state,
    scaled: () => state.value.scaled,
    report,
    attach: host => state.value.start(host),
  }
  const middleware: Middleware = (_message, next) => next()
  return Object.assign(middleware, { [MIDDLEWARE_META]: meta, report })
}

/** Returns the validated signals to measure. Throws PolicyError. */
function signalsOf({ signal, signals, stages }: AdaptiveOptions): readonly SignalPlan[] {
  const extra = signal === undefined ? [] : [resolveSignal(signal, 'signal')]
  const words = signals ?? (extra.length > 0 ? [] : MACHINE_SIGNALS)
  const listed = [...words.map((word, index) => resolveSignal(word, `signals[${index}]`)), ...extra]
  if (listed.length === 0 || listed.length > MAX_SIZES.loadSignals) {
    throw policyError('signals', `there are ${listed.length} signals`, `give 1 to ${MAX_SIZES.loadSignals}`)
  }
  // The default stages cover all available signals.
  const isUsual = stages === 'default' && signals === undefined && signal === undefined
  return isUsual ? [...listed, optionalSignal('queue-depth'), optionalSignal('error-rate')] : listed
}
