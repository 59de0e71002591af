import fc from 'fast-check'
import type { Dialect } from '../../../src/core/message.ts'
import { GRAMMARS } from '../../../src/topic/dialect.ts'

/** Levels in which matchers are known to stumble: few, so that patterns and topics meet often. */
const LEVELS = [
  ...['', 'a', 'b', '$', '$a', '+', '#', '*', '>', 'a+', '>a', ' ', 'ü', '😀', '\ufeffa'],
  ...['__proto__', 'constructor', 'toString'],
]

/** Texts of up to five such levels; most of them sound, some not. */
export function texts(dialect: Dialect): fc.Arbitrary<string> {
  const { separator, one, rest } = GRAMMARS[dialect]
  const level = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom('a', 'b', '$a') },
    { weight: 2, arbitrary: fc.constant(one) },
    { weight: 2, arbitrary: fc.constantFrom(...LEVELS) },
  )
  const end = fc.constantFrom('', separator, `${separator}${rest}`, `${separator}${rest}`)
  return fc
    .tuple(fc.array(level, { minLength: 1, maxLength: 5 }), fc.oneof(fc.constant(''), end))
    .map(([levels, tail]) => levels.join(separator) + tail)
}

/** Topics of up to six levels, mostly sound ones. */
export function topics(dialect: Dialect): fc.Arbitrary<string> {
  const { separator } = GRAMMARS[dialect]
  const level = fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom('a', 'b', '$a') },
    { weight: 1, arbitrary: fc.constantFrom(...LEVELS) },
  )
  return fc.array(level, { minLength: 1, maxLength: 6 }).map(levels => levels.join(separator))
}
