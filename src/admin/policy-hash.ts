import { createHash } from 'node:crypto'
import type { Gate } from '../gate/gate.ts'

const hashes = new WeakMap<object, string>()

/** Returns a text that changes with the policy in force; `none` without a policy. */
export function hashPolicy({ policy }: Pick<Gate, 'policy'>): string {
  if (policy === undefined) return 'none'
  let hash = hashes.get(policy)
  if (hash === undefined) {
    hash = createHash('sha256').update(JSON.stringify(policy.document)).digest('base64url').slice(0, 16)
    hashes.set(policy, hash)
  }
  return hash
}
