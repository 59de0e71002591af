import { policyError } from '../errors.ts'
import { cpuSignal } from './cpu.ts'
import { eventLoopSignal } from './event-loop.ts'
import { memorySignal } from './memory.ts'

/** Something that tells how loaded this process, its machine or what lies behind it is. */
export interface Signal {
  readonly name: string
  /** The value that counts as a load of 100 %. Default: 1. */
  readonly full?: number
  /** What is found now; undefined where nothing can be said yet. May throw: it is then left out. */
  read(nowMs: number): number | undefined
  /** Ends what it measures with. */
  close?(): void
}

/** Signals that are known by name. */
export const SIGNAL_NAMES = ['cpu', 'memory', 'event-loop'] as const
export type SignalName = (typeof SIGNAL_NAMES)[number]

/** A name, a function that gives the load from 0 to 1, or a signal of one's own. */
export type SignalWord = SignalName | (() => number | undefined) | Signal

const MADE: Readonly<Record<SignalName, () => Signal>> = {
  cpu: cpuSignal,
  memory: memorySignal,
  'event-loop': eventLoopSignal,
}

/** Says how a signal is made, and under which name it is told of. Throws PolicyError. */
export function signalOf(
  word: SignalWord,
  path: string,
): { readonly name: string; readonly make: () => Signal } {
  if (typeof word === 'function') {
    const signal: Signal = { name: word.name === '' ? 'signal' : word.name.slice(0, 60), read: word }
    return { name: signal.name, make: () => signal }
  }
  if (typeof word === 'object' && word !== null && typeof word.read === 'function') {
    if (word.full !== undefined && !(word.full > 0)) {
      throw policyError(path, `full: ${word.full} is no load`, 'give the value that counts as 100 %')
    }
    return { name: word.name, make: () => word }
  }
  if (typeof word === 'string' && Object.hasOwn(MADE, word)) return { name: word, make: MADE[word] }
  const shown = typeof word === 'string' ? JSON.stringify((word as string).slice(0, 60)) : `a ${typeof word}`
  throw policyError(
    path,
    `${shown} is not a signal`,
    `use ${SIGNAL_NAMES.join(', ')}, a function or a signal`,
  )
}
