import { CommandError, EXIT } from '../command-error.ts'
import type { GroupDefinition } from './message-groups.ts'
import type { CaptureSurvey } from './survey-capture.ts'

/** Rules to suggest: one for a given pattern, or those for all topics of a capture. */
export interface GroupOptions {
  readonly topic?: string | undefined
  readonly per?: string | undefined
}

/** Returns the rules to fit. Throws CommandError if `per` cannot be measured. */
export function defineGroups(
  { topic, per }: GroupOptions,
  survey: CaptureSurvey,
): readonly GroupDefinition[] {
  if (topic !== undefined) {
    const given = per ?? survey.findIdentity() ?? lastCapture(topic) ?? 'global'
    checkScope(given, topic)
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
  const known = ['client', 'device', 'user', 'ip', 'topic', 'global', ...captures]
  if (known.includes(per)) return
  throw new CommandError(`--per ${per}: ${topic} has no such capture (use ${known.join(', ')})`, EXIT.usage)
}

function lastCapture(topic: string): string | undefined {
  return [...topic.matchAll(/\{(\w+)\}/g)].at(-1)?.[1]
}

/** Names a rule after the last words of its pattern. */
function nameRule(topic: string, names: Set<string>): string {
  const words = topic.replaceAll(/\{\w+\}/g, '').match(/[A-Za-z0-9]+/g) ?? []
  return uniqueName(words.slice(-2).join('-').toLowerCase() || 'messages', names)
}

function uniqueName(name: string, names: Set<string>): string {
  let unique = name
  for (let number = 2; names.has(unique); number++) unique = `${name}-${number}`
  names.add(unique)
  return unique
}
