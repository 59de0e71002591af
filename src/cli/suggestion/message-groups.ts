import { hashLongPart } from '../../core/hash-long-part.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Dialect, Message, Sender } from '../../core/message.ts'
import { matches } from '../../index.ts'
import { BurstNeeds } from './burst-needs.ts'

/** A rule to be suggested: messages of a pattern, counted by an identity. */
export interface GroupDefinition {
  readonly name: string
  readonly on: 'publish' | 'connect'
  /** Undefined for all topics. */
  readonly topic: string | undefined
  /** `client`, `device`, `user`, `ip`, `global`, `topic`, or a capture of the topic. */
  readonly per: string
}

/** A group with what its keys need. */
export interface MessageGroup extends GroupDefinition {
  readonly needs: BurstNeeds
}

interface TopicRoute {
  readonly group: MessageGroup
  /** Value of the capture that the group counts by. */
  readonly captured: string | undefined
}

/** Finds the groups of each message, and its key in them. */
export class MessageGroups {
  readonly groups: readonly MessageGroup[]
  readonly dialect: Dialect
  readonly #byTopic: readonly MessageGroup[]
  readonly #forAll: MessageGroup | undefined
  readonly #forConnects: MessageGroup | undefined
  readonly #routes = new Map<string, readonly TopicRoute[]>()

  constructor(definitions: readonly GroupDefinition[], dialect: Dialect) {
    const maxKeys = Math.floor(MAX_SIZES.suggestedKeys / definitions.length)
    this.dialect = dialect
    this.groups = definitions.map(each => ({ ...each, needs: new BurstNeeds(maxKeys) }))
    const publishes = this.groups.filter(({ on }) => on === 'publish')
    this.#byTopic = publishes.filter(({ topic }) => topic !== undefined)
    this.#forAll = publishes.find(({ topic }) => topic === undefined)
    this.#forConnects = this.groups.find(({ on }) => on === 'connect')
  }

  /** Calls `visit` with each group of a message and its key in it. */
  visit(message: Message, visit: (group: MessageGroup, key: string) => void): void {
    if (message.on === 'connect') {
      if (this.#forConnects !== undefined)
        visit(this.#forConnects, keyOf(this.#forConnects, message, undefined))
      return
    }
    if (message.on !== 'publish') return
    for (const { group, captured } of this.#routesOf(message.topic))
      visit(group, keyOf(group, message, captured))
    if (this.#forAll !== undefined) visit(this.#forAll, keyOf(this.#forAll, message, undefined))
  }

  #routesOf(topic: string): readonly TopicRoute[] {
    const name = hashLongPart(topic)
    const known = this.#routes.get(name)
    if (known !== undefined) return known
    if (this.#routes.size >= MAX_SIZES.suggestedTopics) this.#routes.clear()
    const routes = this.#byTopic
      .filter(each => matchesPattern(each.topic!, topic, this.dialect))
      .map(group => ({ group, captured: captureOf(group, topic, this.dialect) }))
    this.#routes.set(name, routes)
    return routes
  }
}

function keyOf({ per }: GroupDefinition, { sender, topic }: Message, captured: string | undefined): string {
  if (per === 'global') return ''
  if (per === 'topic') return hashLongPart(topic)
  return hashLongPart((isIdentity(per) ? sender[per] : undefined) ?? captured ?? '')
}

function isIdentity(per: string): per is keyof Pick<Sender, 'client' | 'device' | 'user' | 'ip'> {
  return per === 'client' || per === 'device' || per === 'user' || per === 'ip'
}

function matchesPattern(pattern: string, topic: string, dialect: Dialect): boolean {
  return matches(pattern.replaceAll(/\{\w+\}/g, dialect === 'mqtt' ? '+' : '*'), topic, dialect)
}

/** Returns the level of a topic that a group counts by. */
function captureOf(
  { topic: pattern, per }: GroupDefinition,
  topic: string,
  dialect: Dialect,
): string | undefined {
  const separator = dialect === 'mqtt' ? '/' : '.'
  const level = pattern?.split(separator).indexOf(`{${per}}`) ?? -1
  return level < 0 ? undefined : topic.split(separator)[level]
}
