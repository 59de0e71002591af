import { posix } from 'node:path'
import { expect, it } from 'vitest'
import { readText } from './project.ts'

const ENTRY_POINTS = [
  'src/index.ts',
  ...['brokers/aedes/index.ts', 'brokers/mqtt/index.ts', 'brokers/nats/index.ts'],
  ...['brokers/mqtt-gateway/index.ts', 'brokers/nats-gateway/index.ts'],
  ...['src/stores/nats-kv/index.ts', 'src/stores/redis/index.ts', 'src/stores/sqlite/index.ts'],
  ...['src/adaptive/index.ts', 'src/metrics/index.ts'],
]

/** Client types of other packages, and types that only gates use. */
const EXCLUDED = /Client|Cluster|Connection|Database|Statement|Link|SharedEntriesWatch/

it('types with close() also have Symbol.asyncDispose', () => {
  const missing = ENTRY_POINTS.flatMap(entryPoint =>
    [...readText(entryPoint).matchAll(/export (?:type )?\{([^}]*)\} from '([^']+)'/g)].flatMap(
      ([, names, from]) => {
        const path = posix.join(posix.dirname(entryPoint), from!)
        const text = readText(path)
        return names!
          .split(',')
          .map(name => name.trim().replace(/^type /, ''))
          .filter(name => name !== '' && !EXCLUDED.test(name))
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
