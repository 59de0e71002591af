import type { Message, Sender } from '../../core/message.ts'
import { captureLevels, LazyTopicCaptures, type Pattern } from '../../topic/pattern.ts'
import type { RuleInPlan } from '../routing/plan-steps.ts'

const NO_CAPTURES: ReadonlyMap<string, string> = new Map()

/** Returns the captured levels of a message's topic. */
export function capturesOf(pattern: Pattern | undefined, message: Message): ReadonlyMap<string, string> {
  if (pattern === undefined || pattern.captures.length === 0) return NO_CAPTURES
  return captureLevels(pattern, message.topic)
}

/** Returns the key of a message under a rule. */
export function keyOf(planned: RuleInPlan, message: Message, sender: Sender): string {
  const { pattern, rule } = planned
  const hasCaptures = pattern !== undefined && pattern.captures.length > 0
  const captures = hasCaptures ? new LazyTopicCaptures(pattern, message.topic) : NO_CAPTURES
  return rule.keys.keyOf({ message, sender, pattern: pattern?.text ?? '', captures })
}
