import { posix } from 'node:path'
import { expect, it } from 'vitest'
import { readText } from './project.ts'

const DOORS = [
  'src/index.ts',
  ...['brokers/aedes/index.ts', 'brokers/mqtt/index.ts', 'brokers/nats/index.ts'],
  ...['src/stores/nats-kv/index.ts', 'src/stores/redis/index.ts', 'src/stores/sqlite/index.ts'],
  ...['src/adapt/index.ts', 'src/metrics/index.ts'],
]

/** Clients of other packages, as far as they are used, and what stores give to gates alone. */
const FOREIGN = /Client|Cluster|Connection|Database|Statement|Link|SharedEntriesWatch/

it('what can be closed can be declared with `await using`', () => {
  const missing = DOORS.flatMap(door =>
    [...readText(door).matchAll(/export (?:type )?\{([^}]*)\} from '([^']+)'/g)].flatMap(
      ([, names, from]) => {
        const path = posix.join(posix.dirname(door), from!)
        const text = readText(path)
        return names!
          .split(',')
          .map(name => name.trim().replace(/^type /, ''))
          .filter(name => name !== '' && !FOREIGN.test(name))
          .filter(name => {
            const [, body = ''] =
              new RegExp(`^export (?:class|interface) ${name}\\b[^]*?\\{\\n([^]*?)^\\}`, 'm').exec(text) ?? []
            return /^ {2}(?:async )?close\(/m.test(body) && !body.includes('[Symbol.asyncDispose]')
          })
          .map(name => `${path}: ${name}`)
      },
    ),
  )
  expect([...new Set(missing)]).toEqual([])
})
