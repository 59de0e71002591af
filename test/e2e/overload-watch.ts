/** The urgency of each sender's n-th message, over and over: one in ten is an emergency. */
export const RANKS = [
  'low',
  'normal',
  'high',
  'low',
  'normal',
  'emergency',
  'low',
  'normal',
  'high',
  'low',
] as const

type Word = (typeof RANKS)[number]
/** What a message of the overload says. */
export interface Work {
  readonly priority: Word
  readonly n: number
}

/** What has come, and what was let go, seen from both sides of the queue. */
export class Watch {
  readonly released: Record<Word, number> = { low: 0, normal: 0, high: 0, emergency: 0 }
  readonly perSender = new Map<string, number>()
  /** Emergencies that have come and were not released. */
  readonly #urgent = new Map<string, number>()
  /** Others that were released while one of these waited. */
  overtaken = 0
  longestUrgentMs = 0

  /** What was let go, of all ranks. */
  get passed(): number {
    return Object.values(this.released).reduce((sum, count) => sum + count, 0)
  }

  come(client: string, { priority, n }: Work): void {
    if (priority === 'emergency') this.#urgent.set(`${client} ${n}`, performance.now())
  }

  release(client: string, { priority, n }: Work): void {
    const sinceMs = this.#urgent.get(`${client} ${n}`)
    if (priority !== 'emergency' && this.#urgent.size > 0) this.overtaken++
    if (sinceMs !== undefined)
      this.longestUrgentMs = Math.max(this.longestUrgentMs, performance.now() - sinceMs)
    this.#urgent.delete(`${client} ${n}`)
    this.released[priority]++
    this.perSender.set(client, (this.perSender.get(client) ?? 0) + 1)
  }
}
