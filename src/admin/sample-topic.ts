import { BUILT_IN_SCOPES } from '../chain/rules/key-scope.ts'
import { SENDER_PARTS } from '../chain/senders/sender-selector.ts'
import type { Dialect, Sender } from '../core/message.ts'
import type { RuleInfo } from '../outcomes/rule-info.ts'
import { parsePattern } from '../topic/pattern.ts'

/** Level in place of a wildcard. */
const ANY_LEVEL = '_'
/** Topics of actions that have none, at brokers. */
const ACTION_TOPICS: Readonly<Record<string, string>> = { connect: 'connect', accept: 'accept' }

/**
 * Returns a topic that a rule applies to, whose key for a sender does not depend on what the wildcards stand for. Returns
 * undefined if it does, as with `per: topic`.
 */
export function sampleTopic(
  rule: Pick<RuleInfo, 'on' | 'pattern' | 'per'>,
  sender: Sender,
  dialect: Dialect,
): string | undefined {
  if (rule.pattern === undefined)
    return rule.per.some(dependsOnTopic) ? undefined : (ACTION_TOPICS[rule.on] ?? ANY_LEVEL)
  const { levels, captures } = parsePattern(rule.pattern, dialect)
  const wildcards = new Set(dialect === 'mqtt' ? ['+', '#'] : ['*', '>'])
  const topic = levels.map(level => (wildcards.has(level) ? ANY_LEVEL : level))
  const known = new Set<string>()
  for (const { name, level } of captures) {
    const part = SENDER_PARTS.find(each => each === name)
    const value = part && sender[part]
    if (typeof value !== 'string' || !/^[^/+#*>.\s]+$/.test(value)) continue
    topic[level] = value
    known.add(name)
  }
  const isUnknown = (scope: string): boolean => dependsOnTopic(scope) && !known.has(scope)
  const isFixed = !topic.includes(ANY_LEVEL)
  if (!isFixed && rule.per.some(isUnknown)) return undefined
  return topic.join(dialect === 'mqtt' ? '/' : '.')
}

/** Returns true if a part of a key is taken from the topic, or may be. */
function dependsOnTopic(scope: string): boolean {
  return scope
    .split('|')
    .some(word => word === 'topic' || (!BUILT_IN_SCOPES.includes(word) && !word.startsWith('ip/')))
}
