import type { SubQueue } from './sub-queue.ts'

/** Flows by their length: the longest is found at once, at any number of them. */
export class LongestQueue {
  /** By length; the flow that came to a length last stands last. */
  readonly #byLength: (Set<SubQueue> | undefined)[] = []
  #longest = 0

  get length(): number {
    return this.#longest
  }

  /** Notes that a flow, which had `before` messages, has `flow.count` now. */
  changed(flow: SubQueue, before: number): void {
    const left = this.#byLength[before]
    left?.delete(flow)
    // The list is never cut: to grow it again would copy all of it.
    if (left?.size === 0) this.#byLength[before] = undefined
    const { count } = flow
    if (count > 0) {
      const flows = this.#byLength[count]
      if (flows === undefined) this.#byLength[count] = new Set([flow])
      else flows.add(flow)
      if (count > this.#longest) this.#longest = count
    }
    while (this.#longest > 0 && this.#byLength[this.#longest] === undefined) this.#longest--
  }

  any(): SubQueue | undefined {
    return this.#byLength[this.#longest]?.values().next().value
  }
}
