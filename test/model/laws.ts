import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { describe, type History, Run } from './history.ts'
import type { Policy } from './policy.ts'

/** Whether nothing but limits and the passing of time changes what a history's policy decides. */
export function isSteady({ policy, events }: History): boolean {
  const ends = events.some(event => 'words' in event && event.words.for !== undefined)
  const policies = [policy, ...events.flatMap(event => (event.do === 'apply' ? [event.policy] : []))]
  return !ends && policies.every(isPlain)
}

function isPlain({ penalties, behaviour, adaptive, rules, exempt }: Policy): boolean {
  if (penalties !== undefined || behaviour !== undefined || adaptive !== undefined) return false
  return (
    rules.every(rule => rule.penalties === undefined) &&
    !JSON.stringify([exempt ?? [], rules]).includes('"time"')
  )
}

/**
 * Holds every refusal by a limit in a steady history to its word, on a gate of its own each: one millisecond before
 * the wait is over the message is refused, which charges nobody, and then it passes. What is broken, in words;
 * undefined if nothing is.
 */
export async function brokenLaw(history: History): Promise<string | undefined> {
  for (const [index, event] of history.events.entries()) {
    if (event.do !== 'check') continue
    const run = new Run(history)
    try {
      await run.begin(clock => new MemoryStore({ clock }))
      for (const before of history.events.slice(0, index + 1)) await run.play(before)
      const { allowed, reason, retryAfterMs } = run.last!
      if (allowed || reason === 'banned' || retryAfterMs === Number.POSITIVE_INFINITY) continue
      run.clock.advance(retryAfterMs - 1)
      const message = run.messageOf(event)
      const seen = describe(await run.gate.peek(message))
      if (describe(await run.gate.peek(message)) !== seen)
        return `event ${index}: a peek changes the next one`
      const early = await run.gate.check(message)
      if (early.allowed || early.retryAfterMs !== 1) return `event ${index}: passes before its wait is over`
      if (describe(await run.gate.peek(message)) !== seen)
        return `event ${index}: a refusal changes something`
      run.clock.advance(1)
      if (!(await run.gate.check(message)).allowed) return `event ${index}: refused after its wait`
    } finally {
      await run.end()
    }
  }
  return undefined
}
