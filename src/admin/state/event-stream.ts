import type { Clock } from '../../core/clock.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'

export const EVENT_TYPES = ['tick', 'refusal', 'audit', 'alert', 'policy', 'store'] as const
export type EventType = (typeof EVENT_TYPES)[number]

interface StreamedEvent {
  readonly id: number
  readonly type: EventType
  /** The event in the format of server-sent events. */
  readonly text: string
}

const KEEP_ALIVE_MS = 15_000
const KEEP_ALIVE = ': keep-alive\n\n'

/**
 * Events for any number of readers, in the format of server-sent events. Ids only grow, also over restarts, because they
 * begin with the time of the start. A reader that does not keep up loses its oldest events, and nobody waits for it.
 */
export class EventStream {
  readonly #events: StreamedEvent[] = []
  readonly #readers = new Set<EventReader>()
  readonly #firstId: number
  #lastId: number
  #cancel: () => void
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
    this.#firstId = clock.now() + 1
    this.#lastId = clock.now()
    this.#cancel = this.#scheduleKeepAlive()
  }

  get readers(): number {
    return this.#readers.size
  }

  publish(type: EventType, data: object): void {
    const id = ++this.#lastId
    const event = { id, type, text: `id: ${id}\n${eventText(type, data)}` }
    this.#events.push(event)
    if (this.#events.length > MAX_SIZES.adminEvents) this.#events.shift()
    for (const reader of this.#readers) if (reader.types.has(type)) reader.push(event.text)
  }

  /** Adds a reader of these types. It begins after the event `afterId`, or with the next event. */
  read(types: ReadonlySet<EventType>, afterId?: number): EventReader {
    const reader = new EventReader(types, () => this.#readers.delete(reader))
    this.#readers.add(reader)
    if (afterId === undefined) return reader
    const oldestId = this.#events[0]?.id ?? this.#lastId + 1
    // Ids of an earlier process say nothing about how many were lost.
    if (afterId < this.#firstId - 1 || afterId > this.#lastId) reader.push(lostText(null))
    else if (afterId < oldestId - 1) reader.push(lostText(oldestId - 1 - afterId))
    for (const { id, type, text } of this.#events) if (id > afterId && types.has(type)) reader.push(text)
    return reader
  }

  /** Ends all readers. */
  close(): void {
    this.#cancel()
    for (const reader of [...this.#readers]) reader.close()
  }

  #scheduleKeepAlive(): () => void {
    return this.#clock.after(KEEP_ALIVE_MS, () => {
      for (const reader of this.#readers) reader.push(KEEP_ALIVE)
      this.#cancel = this.#scheduleKeepAlive()
    })
  }
}

/** Reader of an event stream, with a bounded queue. */
export class EventReader {
  readonly types: ReadonlySet<EventType>
  readonly #queue: string[] = []
  readonly #closers: (() => void)[]
  #lost = 0
  #isClosed = false
  #wake: (() => void) | undefined

  constructor(types: ReadonlySet<EventType>, onClosed: () => void) {
    this.types = types
    this.#closers = [onClosed]
  }

  /** Calls a function when the reader is closed. */
  onClosed(close: () => void): void {
    this.#closers.push(close)
  }

  push(text: string): void {
    if (this.#queue.length >= MAX_SIZES.adminQueuedEvents) {
      this.#queue.shift()
      this.#lost++
    }
    this.#queue.push(text)
    this.#wake?.()
  }

  /** Returns all waiting events, or waits for the next; undefined if the reader is closed. */
  async next(): Promise<string | undefined> {
    if (this.#queue.length === 0 && !this.#isClosed) {
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
    if (this.#isClosed) return undefined
    const lost = this.#lost === 0 ? '' : lostText(this.#lost)
    this.#lost = 0
    return lost + this.#queue.splice(0).join('')
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#queue.length = 0
    for (const close of this.#closers) close()
    this.#wake?.()
  }
}

/** Returns an event without an id, which is therefore not resumed after. */
export function eventText(type: EventType, data: object): string {
  return `event: ${type}\ndata: ${JSON.stringify(data)}\n\n`
}

/** `count` is null if the number of lost events is unknown. */
function lostText(count: number | null): string {
  return `event: lost\ndata: ${JSON.stringify({ count })}\n\n`
}
