import { createHash } from 'node:crypto'
import type { LoopTurns } from '../core/loop-turns.ts'
import { redactedJson } from './redact.ts'
import type { PolicyDocument } from './schema.ts'

/**
 * Returns 16 hexadecimal digits that identify the content of a policy, in turns of the event loop. Leaves secrets out,
 * so that a published fingerprint cannot confirm a guess of one.
 */
export async function fingerprintOf(document: PolicyDocument, turns: LoopTurns): Promise<string> {
  const { exempt, rules, ...rest } = document
  const hash = createHash('sha256')
  const addPart = (part: unknown): void => void hash.update(`${redactedJson(part)}\n`)
  addPart(rest)
  for (const entries of [exempt ?? [], rules ?? []]) {
    addPart(entries.length)
    for (const entry of entries) {
      if (turns.isOver()) await turns.next()
      addPart(entry)
    }
  }
  return hash.digest('hex').slice(0, 16)
}
