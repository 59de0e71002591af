/** The shortest time between two cuts: what was under way at the first is refused for the same reason. */
const CUT_MS = 200
const RAISE_MS = 1_000
/** Where it stops to pace, and where it stops to slow down, in messages a millisecond. */
const FASTEST_PER_MS = 10
const SLOWEST_PER_MS = 0.001

/**
 * How fast a publisher may go that was told to slow down: half its rate at a refusal, a tenth of that rate more with each second
 * without one, and a quarter more once it is past it (additive increase, multiplicative decrease, as TCP's). Without a refusal it has no say.
 */
export class Pacer {
  #perMs: number | undefined
  /** The rate at which it was refused last. */
  #refusedPerMs = 0
  #nextMs = 0
  #changedMs = 0
  #spanMs = 0
  #sent = 0
  #sentBefore = 0

  /** Messages a second; undefined where it has no say. */
  get perSecond(): number | undefined {
    return this.#perMs === undefined ? undefined : this.#perMs * 1_000
  }

  /** Whole milliseconds until the next may go. */
  waitMs(nowMs: number): number {
    if (this.#perMs === undefined) return 0
    this.#raise(nowMs, this.#perMs)
    return Math.max(0, Math.floor(this.#nextMs - nowMs))
  }

  sent(nowMs: number): void {
    this.#turn(nowMs)
    this.#sent++
    if (this.#perMs !== undefined) this.#nextMs = Math.max(this.#nextMs, nowMs) + 1 / this.#perMs
  }

  refused(nowMs: number): void {
    if (this.#perMs !== undefined && nowMs - this.#changedMs < CUT_MS) return
    this.#refusedPerMs = this.#perMs ?? this.#measure(nowMs)
    this.#perMs = Math.max(SLOWEST_PER_MS, this.#refusedPerMs / 2)
    this.#changedMs = nowMs
    this.#nextMs = nowMs + 1 / this.#perMs
  }

  #raise(nowMs: number, perMs: number): void {
    if (nowMs - this.#changedMs < RAISE_MS) return
    this.#changedMs = nowMs
    const raised = perMs < this.#refusedPerMs ? perMs + this.#refusedPerMs / 10 : perMs * 1.25
    this.#perMs = raised > FASTEST_PER_MS ? undefined : raised
  }

  #measure(nowMs: number): number {
    this.#turn(nowMs)
    const inSpan = this.#sent / Math.max(1, nowMs - this.#spanMs)
    return Math.min(FASTEST_PER_MS, Math.max(inSpan, this.#sentBefore / RAISE_MS))
  }

  #turn(nowMs: number): void {
    const passedMs = nowMs - this.#spanMs
    if (passedMs < RAISE_MS) return
    this.#sentBefore = passedMs < 2 * RAISE_MS ? this.#sent : 0
    this.#sent = 0
    this.#spanMs = nowMs
  }
}
