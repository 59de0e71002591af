import { policyError } from '../core/errors.ts'
import { quote } from '../core/units.ts'
import { cpuSignal } from './cpu-signal.ts'
import { eventLoopSignal } from './event-loop-signal.ts'
import { memorySignal } from './memory-signal.ts'
import {
  type LoadSignalHost,
  REPORTED_SIGNALS,
  type ReportedSignalName,
  reportedSignal,
} from './reported-signals.ts'
import type { Signal } from './signal-types.ts'

const MACHINE = { cpu: cpuSignal, memory: memorySignal, 'event-loop': eventLoopSignal } as const

/** Signals of the machine and this process, measured by default. */
export const MACHINE_SIGNALS = ['cpu', 'memory', 'event-loop'] as const
/** Built-in signals by name. */
export const SIGNAL_NAMES = [...MACHINE_SIGNALS, 'queue-depth', 'error-rate', 'consumer-lag'] as const
export type SignalName = (typeof SIGNAL_NAMES)[number]

/** Signals that count messages. Their value of 100 % can be set. */
export const MESSAGE_COUNT_SIGNALS = ['queue-depth', 'consumer-lag'] as const
type CountingName = (typeof MESSAGE_COUNT_SIGNALS)[number]

/**
 * A name; a name with the value of a load of 100 %, such as `{ 'queue-depth': 5000 }`; a function that
 * returns the load from 0 to 1; or a custom signal.
 */
export type SignalWord =
  | SignalName
  | { readonly [Name in CountingName]?: number | undefined }
  | (() => number | undefined)
  | Signal

/** A signal's name and factory. */
export interface SignalPlan {
  readonly name: string
  /** True if it was not requested. It then counts for its stages only, and only if a source reports it. */
  readonly isExtra?: boolean | undefined
  readonly make: (host: LoadSignalHost) => Signal
}

/** Parses a signal. Throws PolicyError. */
export function resolveSignal(word: SignalWord, path: string): SignalPlan {
  if (typeof word === 'function') {
    const signal: Signal = { name: word.name === '' ? 'signal' : word.name.slice(0, 60), read: word }
    return { name: signal.name, make: () => signal }
  }
  if (typeof word === 'object' && word !== null) {
    const signal = word as Signal
    const plan =
      typeof signal.read === 'function' ? { name: signal.name, make: () => signal } : countingSignal(word)
    const full = typeof signal.read === 'function' ? signal.full : Object.values(word)[0]
    if (plan !== undefined && full !== undefined && !(full > 0)) {
      throw policyError(path, `full: ${full} is not a load`, 'give the value that counts as 100 %')
    }
    if (plan !== undefined) return plan
  }
  if (typeof word === 'string' && Object.hasOwn(MACHINE, word))
    return { name: word, make: () => MACHINE[word as keyof typeof MACHINE]() }
  if (typeof word === 'string' && Object.hasOwn(REPORTED_SIGNALS, word))
    return {
      name: word,
      make: host => reportedSignal(word as ReportedSignalName, { isRequired: true }, host),
    }
  throw policyError(
    path,
    `${quote(word)} is not a signal`,
    `use ${SIGNAL_NAMES.join(', ')}, a function or a signal`,
  )
}

/** Returns a signal that counts only if a source reports it. */
export function optionalSignal(name: ReportedSignalName): SignalPlan {
  return { name, isExtra: true, make: host => reportedSignal(name, { isRequired: false }, host) }
}

function countingSignal(word: object): SignalPlan | undefined {
  const [entry, ...rest] = Object.entries(word)
  const name = MESSAGE_COUNT_SIGNALS.find(known => known === entry?.[0])
  if (name === undefined || rest.length > 0) return undefined
  const full = Number(entry![1])
  return { name, make: host => reportedSignal(name, { full, isRequired: true }, host) }
}
