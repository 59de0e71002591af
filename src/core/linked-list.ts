/** Neighbours of an entry in a {@link LinkedList}. */
export interface Linked<E> {
  previous: E | undefined
  next: E | undefined
}

/**
 * Doubly linked list. Its entries carry the links, so that each method takes constant time and allocates nothing. An
 * entry is in one list at a time.
 */
export class LinkedList<E extends Linked<E>> {
  first: E | undefined
  last: E | undefined
  count = 0

  append(entry: E): void {
    this.#link(this.last, entry, undefined)
    this.count++
  }

  prepend(entry: E): void {
    this.#link(undefined, entry, this.first)
    this.count++
  }

  remove(entry: E): void {
    const { previous, next } = entry
    if (previous) previous.next = next
    else this.first = next
    if (next) next.previous = previous
    else this.last = previous
    entry.previous = undefined
    entry.next = undefined
    this.count--
  }

  /** Puts an entry in the place of another one. */
  replace(older: E, entry: E): void {
    const { previous, next } = older
    this.#link(previous, entry, next)
    older.previous = undefined
    older.next = undefined
  }

  #link(previous: E | undefined, entry: E, next: E | undefined): void {
    entry.previous = previous
    entry.next = next
    if (previous) previous.next = entry
    else this.first = entry
    if (next) next.previous = entry
    else this.last = entry
  }
}
