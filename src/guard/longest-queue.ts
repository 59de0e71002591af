import type { SubQueue } from './sub-queue.ts'

/** Sub-queues indexed by length. Finds a longest one in constant time. */
export class LongestQueue {
  /** Index: length. The sub-queue that reached a length last comes last. */
  readonly #byLength: (Set<SubQueue> | undefined)[] = []
  #maxLength = 0

  get length(): number {
    return this.#maxLength
  }

  /** Updates the length of a sub-queue, which was `before`. */
  update(subQueue: SubQueue, before: number): void {
    const previous = this.#byLength[before]
    previous?.delete(subQueue)
    // The array is never shortened. Because growing it again would copy it.
    if (previous?.size === 0) this.#byLength[before] = undefined
    const { count } = subQueue
    if (count > 0) {
      const subQueues = this.#byLength[count]
      if (subQueues === undefined) this.#byLength[count] = new Set([subQueue])
      else subQueues.add(subQueue)
      if (count > this.#maxLength) this.#maxLength = count
    }
    while (this.#maxLength > 0 && this.#byLength[this.#maxLength] === undefined) this.#maxLength--
  }

  longest(): SubQueue | undefined {
    return this.#byLength[this.#maxLength]?.values().next().value
  }
}
