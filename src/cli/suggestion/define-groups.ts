import type { Dialect } from '../../core/message.ts'
import { parsePattern } from '../../topic/pattern.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import type { CaptureSurvey } from './capture-survey.ts'
import type { GroupDefinition } from './message-groups.ts'

/** Characters of a name before a number that makes it unique. */
const NAME_CHARS = 60

/** Rules to suggest: one for a given pattern, or those for all topics of a capture. */
export interface GroupOptions {
  readonly topic?: string | undefined
  readonly per?: string | undefined
}

/** Checks what can be checked without messages. Throws CommandError for an invalid pattern, or if `per` cannot be measured. */
export function checkGroupOptions({ topic, per }: GroupOptions, dialect: Dialect): void {
  if (topic === undefined) return
  try {
    parsePattern(topic, dialect)
  } catch (error) {
    throw new CommandError(`--${(error as Error).message}`, EXIT.usage)
  }
  if (per !== undefined) checkScope(per, topic)
}

/** Returns the rules to fit. Throws like `checkGroupOptions`. */
export function defineGroups(options: GroupOptions, survey: CaptureSurvey): readonly GroupDefinition[] {
  checkGroupOptions(options, survey.dialect)
  const { topic, per } = options
  if (topic !== undefined) {
    const given = per ?? survey.findIdentity() ?? lastCapture(topic) ?? 'global'
    return [{ name: nameRule(topic, new Set()), on: 'publish', topic, per: given }]
  }
  const names = new Set<string>()
  const groups = survey.patterns().map((pattern): GroupDefinition => {
    const found = per ?? survey.findIdentity() ?? lastCapture(pattern) ?? 'global'
    checkScope(found, pattern)
    return { name: nameRule(pattern, names), on: 'publish', topic: pattern, per: found }
  })
  const identity = survey.findIdentity()
  // A sender over all its topics: each identity in the rules must be that of the sender.
  if (groups.length > 1 && identity !== undefined && groups.every(group => group.per === identity)) {
    groups.push({ name: uniqueName('all-topics', names), on: 'publish', topic: undefined, per: identity })
  }
  const connecting = survey.findIdentity(['ip', 'client', 'user'])
  if (survey.connects > 0 && connecting !== undefined) {
    groups.push({ name: uniqueName('connects', names), on: 'connect', topic: undefined, per: connecting })
  }
  return groups
}

function checkScope(per: string, topic: string): void {
  const captures = [...topic.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!)
  const known = new Set(['client', 'device', 'user', 'ip', 'topic', 'global', ...captures])
  if (known.has(per)) return
  const remedy = `use ${[...known].join(', ')}`
  throw new CommandError(`--per ${per}: ${topic} has no such capture (${remedy})`, EXIT.usage)
}

function lastCapture(topic: string): string | undefined {
  return [...topic.matchAll(/\{(\w+)\}/g)].at(-1)?.[1]
}

/** Names a rule after the last words of its pattern. Long words are cut, because policies bound the names of rules. */
function nameRule(topic: string, names: Set<string>): string {
  const words = topic.replaceAll(/\{\w+\}/g, '').match(/[A-Za-z0-9]+/g) ?? []
  const name = words.slice(-2).join('-').toLowerCase().slice(0, NAME_CHARS)
  return uniqueName(name || 'messages', names)
}

function uniqueName(name: string, names: Set<string>): string {
  let unique = name
  for (let number = 2; names.has(unique); number++) unique = `${name}-${number}`
  names.add(unique)
  return unique
}
