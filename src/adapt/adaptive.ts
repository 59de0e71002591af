import { BOUNDS } from '../bounds.ts'
import { STATION } from '../chain/limit.ts'
import type { Middleware } from '../chain/middleware.ts'
import type { ScaleStation } from '../chain/scale.ts'
import { policyError, UnsupportedError } from '../errors.ts'
import { LoadMonitor, type LoadReport } from './monitor.ts'
import { SIGNAL_NAMES, type SignalWord, signalOf } from './signal.ts'
import {
  DEFAULT_LEVELS,
  DEFAULT_STAGES,
  type LevelWords,
  parseLevels,
  parseStages,
  type StageWords,
} from './words.ts'

export interface AdaptiveOptions {
  /** Factors by level of load. Default: `{ low: '1.5 up to 30%', medium: '1 up to 70%', high: 0.5 }`, unless stages are given. */
  readonly levels?: LevelWords
  /** Reductions by signal, as `{ cpu: { '60%': 0.75 } }`, or `default` for the usual ones. The least factor counts. */
  readonly stages?: 'default' | Readonly<Record<string, StageWords>>
  /** One signal more. */
  readonly signal?: SignalWord
  /** What is looked at; the load is the worst of them. Default: cpu, memory, event-loop, unless `signal` is given. */
  readonly signals?: readonly SignalWord[]
  /** How often. Default: 10,000. */
  readonly everyMs?: number
}

/** A middleware that can say what it goes by. */
export interface Adaptive extends Middleware {
  report(): LoadReport
}

/** What one adaptive() may go on with of another. */
interface Heritable {
  readonly says: string | undefined
  monitor(): LoadMonitor
}

const SHORTEST_MS = 10
const LONGEST_MS = 86_400_000

/**
 * Scales the limits that follow it in the list of `gate.use`, by the load: `gate.use(adaptive(), limit({ … }))`. Of
 * several the nearest before a limit counts. A limit never falls below 1, quotas and exemptions stay as they are, and
 * what was used stays used. It belongs to one gate, which ends it. Throws PolicyError.
 */
export function adaptive(options: AdaptiveOptions = {}): Adaptive {
  const { everyMs = 10_000, stages = {} } = options
  if (!(Number.isSafeInteger(everyMs) && everyMs >= SHORTEST_MS && everyMs <= LONGEST_MS)) {
    throw policyError(
      'everyMs',
      `${everyMs} is no interval`,
      `use whole milliseconds from ${SHORTEST_MS} to a day`,
    )
  }
  const levels = options.levels ?? (options.stages === undefined ? DEFAULT_LEVELS : undefined)
  const extra = options.signal === undefined ? [] : [signalOf(options.signal, 'signal')]
  const words = options.signals ?? (extra.length > 0 ? [] : SIGNAL_NAMES)
  const listed = [...words.map((word, index) => signalOf(word, `signals[${index}]`)), ...extra]
  if (listed.length === 0 || listed.length > BOUNDS.loadSignals) {
    throw policyError('signals', `there are ${listed.length} signals`, `give 1 to ${BOUNDS.loadSignals}`)
  }
  const names = new Set(listed.map(({ name }) => name))
  if (names.size < listed.length)
    throw policyError('signals', 'two signals have one name', 'give each its own')
  const wanted = Object.entries(stages === 'default' ? DEFAULT_STAGES : stages).filter(
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
  let monitor = new LoadMonitor({
    signals: listed.map(({ make }) => make),
    levels: levels && parseLevels(levels),
    stages: new Map(wanted.map(([name, each]) => [name, parseStages(name, each)])),
    everyMs,
  })
  let isAttached = false
  const isPlain = [...words, options.signal ?? ''].every(word => typeof word === 'string')
  const station: ScaleStation & Heritable = {
    kind: 'scale',
    enabled: true,
    priority: 0,
    scaled: () => monitor.scaled,
    attach(host) {
      if (isAttached)
        throw new UnsupportedError('an adaptive() belongs to one gate: make another for the next')
      isAttached = true
      const end = monitor.start(host)
      return () => {
        isAttached = false
        end()
      }
    },
    // Functions cannot be told apart by what they say.
    says: isPlain ? JSON.stringify([levels, stages, words, options.signal, everyMs]) : undefined,
    monitor: () => monitor,
    inherit(other) {
      const { says, monitor: found } = other as Partial<Heritable>
      if (isAttached || says === undefined || found === undefined || says !== station.says) return false
      isAttached = true
      monitor = found()
      return true
    },
  }
  const middleware: Middleware = (_message, next) => next()
  return Object.assign(middleware, { [STATION]: station, report: () => monitor.report() })
}
