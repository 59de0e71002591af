import { addressKey } from '../../conditions/address-network.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { TwoGenerationCache } from '../../core/two-generation-cache.ts'

const WINDOW_MS = 60_000
const MAX_FAILURES = 5

interface Failures {
  count: number
  sinceMs: number
}

/** Counts wrong tokens by address, IPv6 by /64: after five within a minute, further wrong ones are blocked for the rest of it. */
export class FailedTokens {
  readonly #failures = new TwoGenerationCache<Failures>({
    maxEntries: MAX_SIZES.adminFailedAddresses,
    maxKeyChars: 64,
    maxTotalChars: 64 * MAX_SIZES.adminFailedAddresses,
    isBusy: ({ count }) => count >= MAX_FAILURES,
  })

  /** Returns how long an address is blocked; 0 if it is not. */
  blockedMs(ip: string, nowMs: number): number {
    const failures = this.#failures.get(addressKey(ip))
    if (failures === undefined || failures.count < MAX_FAILURES) return 0
    return Math.max(0, failures.sinceMs + WINDOW_MS - nowMs)
  }

  record(ip: string, nowMs: number): void {
    const key = addressKey(ip)
    const failures = this.#failures.get(key)
    if (failures === undefined || nowMs - failures.sinceMs >= WINDOW_MS)
      this.#failures.set(key, { count: 1, sinceMs: nowMs })
    else failures.count++
  }
}
