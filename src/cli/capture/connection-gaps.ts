import { formatNumberOf, formatWait } from '../terminal/format.ts'

/** Measures the times without a connection to a broker, whose messages a capture lacks. */
export class ConnectionGaps {
  #losses = 0
  #closedMs = 0
  #lostAtMs: number | undefined

  /** Records that the connection was lost. A further loss before a return changes nothing. */
  recordLoss(nowMs: number): void {
    if (this.#lostAtMs !== undefined) return
    this.#losses++
    this.#lostAtMs = nowMs
  }

  recordReturn(nowMs: number): void {
    if (this.#lostAtMs === undefined) return
    this.#closedMs += nowMs - this.#lostAtMs
    this.#lostAtMs = undefined
  }

  /** Describes what is missing up to now; undefined if the connection was never lost. */
  describe(nowMs: number): string | undefined {
    if (this.#losses === 0) return undefined
    const isLost = this.#lostAtMs !== undefined
    const closedMs = this.#closedMs + (isLost ? nowMs - this.#lostAtMs! : 0)
    const end = isLost ? ', and did not come back' : ''
    return `the connection to the broker was lost (${formatNumberOf(this.#losses, 'time')}${end}): messages of ${formatWait(closedMs)} are missing`
  }
}
