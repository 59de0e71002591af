import { StoreError } from '../../../../src/core/errors.ts'
import { MemoryStore } from '../../../../src/stores/memory/memory-store.ts'
import type { Charge, StateSelector, Store, StoreHealth, Verdict } from '../../../../src/stores/store.ts'
import type { FakeClock } from '../../../support/fake-clock.ts'

/** Behaviour of a call: at once, later, or never; `late` runs at once and answers after a second. */
export type Way = 'now' | 'soon' | 'throw' | 'reject' | 'hang' | 'late'

export const FAILING = ['throw', 'reject', 'hang', 'late'] as const

/** Memory store whose calls behave as configured; counts them. */
export class FaultyStore implements Store {
  readonly name = 'faulty'
  readonly memory: MemoryStore
  readonly algorithms
  readonly calls: string[] = []
  way: Way = 'now'
  /** Behaviour of the n-th call of any kind, from 1. */
  wayOf: (call: number) => Way = () => this.way
  readonly #clock: FakeClock

  constructor(clock: FakeClock) {
    this.#clock = clock
    this.memory = new MemoryStore({ clock })
    this.algorithms = this.memory.algorithms
  }

  decide(
    charges: readonly Charge[],
    options: { readonly commit: boolean; readonly nowMs?: number },
  ): readonly Verdict[] | Promise<readonly Verdict[]> {
    return this.#go('decide', () => this.memory.decide(charges, options))
  }

  forget(selector: StateSelector): number | Promise<number> {
    return this.#go('forget', () => this.memory.forget(selector))
  }

  refund(charges: readonly Charge[]): void | Promise<void> {
    return this.#go('refund', () => this.memory.refund(charges))
  }

  health(): StoreHealth | Promise<StoreHealth> {
    return this.#go('health', () => this.memory.health())
  }

  close(): Promise<void> {
    return Promise.resolve(this.#go('close', () => this.memory.close()))
  }

  #go<T>(name: string, run: () => T): T | Promise<T> {
    this.calls.push(name)
    const way = this.wayOf(this.calls.length)
    switch (way) {
      case 'now':
        return run()
      case 'soon':
        return Promise.resolve().then(run)
      case 'throw':
        throw new StoreError('thrown')
      case 'reject':
        return Promise.reject(new StoreError('rejected'))
      case 'hang':
        return new Promise(() => {})
      case 'late': {
        const answer = run()
        return new Promise(resolve => this.#clock.after(1_000, () => resolve(answer)))
      }
      default:
        return way satisfies never
    }
  }
}
