import type { Flow } from './flow.ts'

/** Flows by their length: the longest is found at once, at any number of them. */
export class Longest {
  /** By length; the flow that came to a length last stands last. */
  readonly #byLength: (Set<Flow> | undefined)[] = []
  #longest = 0

  get length(): number {
    return this.#longest
  }

  /** Notes that a flow, which had `before` messages, has `flow.count` now. */
  changed(flow: Flow, before: number): void {
    this.#byLength[before]?.delete(flow)
    const { count } = flow
    if (count > 0) {
      let flows = this.#byLength[count]
      if (flows === undefined) {
        flows = new Set()
        this.#byLength[count] = flows
      }
      flows.add(flow)
      if (count > this.#longest) this.#longest = count
    }
    while (this.#longest > 0 && !this.#byLength[this.#longest]?.size) {
      this.#byLength.length = this.#longest
      this.#longest--
    }
  }

  any(): Flow | undefined {
    return this.#byLength[this.#longest]?.values().next().value
  }
}
