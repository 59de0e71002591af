import type { Message, Sender } from '../message.ts'
import { captureLevels } from '../topic/pattern.ts'
import type { PlannedRule } from './steps.ts'

const NO_CAPTURES: ReadonlyMap<string, string> = new Map()

/** The key of a message under a rule. */
export function keyOf(planned: PlannedRule, message: Message, sender: Sender): string {
  const { pattern, rule } = planned
  const captures =
    pattern === undefined || pattern.captures.length === 0
      ? NO_CAPTURES
      : captureLevels(pattern, message.topic)
  return rule.keys.keyOf({ message, sender, pattern: pattern?.text ?? '', captures })
}
