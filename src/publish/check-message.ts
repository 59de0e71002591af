import type { Dialect } from '../core/message.ts'
import { GRAMMARS, quote, validTopic } from '../topic/dialect.ts'

/** Longest part of a wrong value that an error shows. */
const SHOWN_CHARS = 40

/** Returns what is wrong with the topic and payload of a message to be published; undefined if nothing is. Never throws. */
export function findMessageProblem(topic: unknown, payload: unknown, dialect: Dialect): Error | undefined {
  if (typeof topic !== 'string') return wrong('topic', topic, 'text')
  if (topic === '') return new TypeError('topic: "" is empty. A message needs a topic.')
  if (!validTopic(topic, dialect))
    return new TypeError(
      `topic: ${quote(topic)} cannot be published to. Remove what is not allowed in a topic.`,
    )
  if (dialect === 'nats' && hasWildcard(topic))
    return new TypeError(`topic: ${quote(topic)} has a wildcard. A message goes to one subject.`)
  if (typeof payload !== 'string' && !(payload instanceof Uint8Array))
    return wrong('payload', payload, 'text or bytes (a string, Buffer or Uint8Array)')
  return undefined
}

/** Returns the error for an option of the wrong type. */
export function wrong(name: string, value: unknown, right: string): Error {
  return new TypeError(`${name}: ${shown(value)} is not ${right}.`)
}

function shown(value: unknown): string {
  if (typeof value === 'string') return quote(value.slice(0, SHOWN_CHARS))
  return typeof value === 'object' && value !== null ? 'an object' : String(value).slice(0, SHOWN_CHARS)
}

function hasWildcard(subject: string): boolean {
  if (!subject.includes('*') && !subject.includes('>')) return false
  const { one, rest, separator } = GRAMMARS.nats
  return subject.split(separator).some(token => token === one || token === rest)
}
