import { BOUNDS } from '../../src/bounds.ts'
import type { Headers } from '../../src/message.ts'
import type { NatsHeaders, NatsMessage } from './client.ts'

/** Makes empty headers: `headers` of the user's own client. */
export type MakeHeaders = () => NatsHeaders

const NONE: Headers = Object.freeze(Object.create(null) as Headers)

/**
 * The headers of a message as plain values, at most `BOUNDS.headerNames` names with `BOUNDS.headerValues` values each.
 * Those the client cannot read (its getter throws on names that are none) count as absent. Never throws; has no
 * prototype, so that no name is special.
 */
export function readHeaders(message: NatsMessage): Headers {
  try {
    const given = message.headers
    if (given === undefined) return NONE
    const read = Object.create(null) as Record<string, string | readonly string[]>
    for (const name of given.keys().slice(0, BOUNDS.headerNames)) {
      // `values` without its match argument, which the generations write differently.
      const values = given.values(name).slice(0, BOUNDS.headerValues)
      read[name] = values.length === 1 ? values[0]! : values
    }
    return read
  } catch {
    return NONE
  }
}

/** Headers of one's own, made by the user's factory, with those of a message before them; undefined without a factory. */
export function makeHeaders(
  make: MakeHeaders | undefined,
  added: Readonly<Record<string, string>>,
  message?: NatsMessage,
): NatsHeaders | undefined {
  if (make === undefined) return undefined
  const made = make()
  const before = message === undefined ? NONE : readHeaders(message)
  for (const [name, value] of Object.entries(before)) {
    if (Object.hasOwn(added, name) || name.startsWith('Nats-')) continue
    for (const each of typeof value === 'string' ? [value] : value) made.append(name, each)
  }
  for (const [name, value] of Object.entries(added)) made.append(name, value)
  return made
}
