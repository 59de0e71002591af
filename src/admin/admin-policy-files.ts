import type { CustomAlgorithm } from '../algorithms/custom-algorithm-types.ts'

/** Files of the policy, and what puts them in force. */
export interface AdminPolicyFiles {
  /** Files in the order in which they are merged, without the overlay. */
  readonly files: readonly string[]
  /** File that the admin API writes its changes to; it is merged last. Default: the policy cannot be changed. */
  readonly overlay?: string | undefined
  /** Custom algorithms that the policy names. */
  readonly algorithms?: readonly CustomAlgorithm[] | undefined
  /** Reads the files again, with the overlay if it exists, and puts them in force. Rejects with PolicyError. */
  reload(): Promise<void>
}
