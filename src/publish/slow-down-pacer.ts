/** Shortest time between two reductions. Messages in flight at the first one are refused for the same reason. */
const CUT_MS = 200
const RAISE_MS = 1_000
/** Rate at which pacing ends, and lowest rate, in messages a millisecond. */
const FASTEST_PER_MS = 10
const SLOWEST_PER_MS = 0.001

/**
 * Paces a publisher after the server asked to slow down. A refusal halves the rate. Each second without one adds a tenth
 * of the refused rate, and a quarter of the current rate beyond it (additive increase, multiplicative decrease, as in
 * TCP). Does not limit before the first refusal.
 */
export class SlowDownPacer {
  #perMs: number | undefined
  /** Rate at the last refusal. */
  #refusedPerMs = 0
  #nextMs = 0
  #changedMs = 0
  #spanMs = 0
  #sent = 0
  #sentInLastSpan = 0

  /** Returns the limit in messages a second, or undefined if none exists. */
  get perSecond(): number | undefined {
    return this.#perMs === undefined ? undefined : this.#perMs * 1_000
  }

  /** Returns the whole milliseconds until the next message may go. */
  waitMs(nowMs: number): number {
    if (this.#perMs === undefined) return 0
    this.#raiseRate(nowMs, this.#perMs)
    return Math.max(0, Math.floor(this.#nextMs - nowMs))
  }

  recordSent(nowMs: number): void {
    this.#rotateSpan(nowMs)
    this.#sent++
    if (this.#perMs !== undefined) this.#nextMs = Math.max(this.#nextMs, nowMs) + 1 / this.#perMs
  }

  recordRefusal(nowMs: number): void {
    if (this.#perMs !== undefined && nowMs - this.#changedMs < CUT_MS) return
    this.#refusedPerMs = this.#perMs ?? this.#measureRate(nowMs)
    this.#perMs = Math.max(SLOWEST_PER_MS, this.#refusedPerMs / 2)
    this.#changedMs = nowMs
    this.#nextMs = nowMs + 1 / this.#perMs
  }

  #raiseRate(nowMs: number, perMs: number): void {
    if (nowMs - this.#changedMs < RAISE_MS) return
    this.#changedMs = nowMs
    const raised = perMs < this.#refusedPerMs ? perMs + this.#refusedPerMs / 10 : perMs * 1.25
    this.#perMs = raised > FASTEST_PER_MS ? undefined : raised
  }

  #measureRate(nowMs: number): number {
    this.#rotateSpan(nowMs)
    const inSpan = this.#sent / Math.max(1, nowMs - this.#spanMs)
    return Math.min(FASTEST_PER_MS, Math.max(inSpan, this.#sentInLastSpan / RAISE_MS))
  }

  #rotateSpan(nowMs: number): void {
    const passedMs = nowMs - this.#spanMs
    if (passedMs < RAISE_MS) return
    this.#sentInLastSpan = passedMs < 2 * RAISE_MS ? this.#sent : 0
    this.#sent = 0
    this.#spanMs = nowMs
  }
}
