import type { AdaptiveHost, NodeLoad } from '../chain/rules/load-scaling.ts'
import type { SignalPlan } from './resolve-signal.ts'
import type { Signal } from './signal-types.ts'

/** A value and the node that reported it; undefined for this node. */
export interface NodeValue {
  readonly value: number
  readonly node: string | undefined
}

/**
 * A node is named as the cause while its value is at least this share of the highest. Otherwise names would
 * change constantly.
 */
const NEAR = 0.9

/** Node whose load reduces the limits; `node` is undefined for this node. */
type CausingNode = { readonly node: string | undefined }

/** Signals of this node: last values and numbers of failures. */
export class SignalReadings {
  readonly values = new Map<string, number>()
  readonly broken = new Map<string, number>()
  readonly #host: AdaptiveHost
  readonly #plans: readonly SignalPlan[]
  readonly #signals: readonly Signal[]

  constructor(plans: readonly SignalPlan[], host: AdaptiveHost) {
    this.#host = host
    this.#plans = plans
    this.#signals = plans.map(({ make }) => make(host))
  }

  /** Reads all signals. */
  readAll(): void {
    const nowMs = this.#host.clock.now()
    for (const signal of this.#signals) {
      const value = this.#valueOf(signal, nowMs)
      if (value === undefined) this.values.delete(signal.name)
      else this.values.set(signal.name, value)
    }
  }

  /** Sets all requested signals to the values of a fixed load. */
  setLoad(load: number): void {
    for (const [index, { name, full = 1 }] of this.#signals.entries()) {
      if (!this.#plans[index]!.isExtra) this.values.set(name, load * full)
    }
  }

  /**
   * Returns the highest values of this node and others, by signal. `causingNode` is the node that determines
   * the current factor.
   */
  worst(others: readonly NodeLoad[], causingNode: CausingNode | undefined): HighestLoad {
    const bySignal = new Map<string, NodeValue>()
    let load: NodeValue | undefined
    for (const [index, { name, full = 1 }] of this.#signals.entries()) {
      const worst = worstOf(name, this.values.get(name), others, causingNode)
      if (worst === undefined) continue
      bySignal.set(name, worst)
      // A signal that was not requested counts for its stages only.
      if (this.#plans[index]!.isExtra) continue
      const share = Math.min(1, worst.value / full)
      if (share > (load?.value ?? -1)) load = { value: share, node: worst.node }
    }
    return { bySignal, load }
  }

  close(): void {
    for (const signal of this.#signals) signal.close?.()
  }

  #valueOf(signal: Signal, nowMs: number): number | undefined {
    let cause: unknown
    try {
      const value = signal.read(nowMs)
      if (value === undefined) return undefined
      if (typeof value === 'number' && value >= 0) return value
      cause = new TypeError(`the signal gave ${String(value)}`)
    } catch (error) {
      cause = error
    }
    const failures = (this.broken.get(signal.name) ?? 0) + 1
    this.broken.set(signal.name, failures)
    if (failures === 1) {
      const context = { err: cause, signal: signal.name }
      this.#host.logger.warn(context, 'a load signal is broken and left out')
    }
    return undefined
  }
}

/** Highest values by signal, and of all signals as a load from 0 to 1. */
export interface HighestLoad {
  readonly bySignal: ReadonlyMap<string, NodeValue>
  readonly load: NodeValue | undefined
}

function worstOf(
  signal: string,
  own: number | undefined,
  others: readonly NodeLoad[],
  causingNode: CausingNode | undefined,
): NodeValue | undefined {
  let worst: NodeValue | undefined = own === undefined ? undefined : { value: own, node: undefined }
  let ofCausing = causingNode?.node === undefined ? own : undefined
  for (const { node, signals } of others) {
    const value = signals.get(signal)
    if (value === undefined) continue
    if (value > (worst?.value ?? -1)) worst = { value, node }
    if (node === causingNode?.node) ofCausing = Math.max(value, ofCausing ?? 0)
  }
  if (worst === undefined || causingNode === undefined || ofCausing === undefined) return worst
  return ofCausing >= NEAR * worst.value ? { value: worst.value, node: causingNode.node } : worst
}
