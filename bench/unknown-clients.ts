import { setImmediate as turn } from 'node:timers/promises'
import { MAX_SIZES } from '../src/core/max-sizes.ts'
import { createSender, type Decision, Gate, limit, MemoryStore, type TableFullWarning } from '../src/index.ts'
import { measureMemory, report } from './harness.ts'

/**
 * One cell: the cost of unknown clients. Arguments: kind, clients. Each has a client id and a topic nobody had before and
 * sends one message; of `spent` ones that is all they may, so that none of their keys may be evicted. Throws where a
 * table passes its bound or a sender that was refused is not refused any more.
 */
const [kind, clients] = process.argv.slice(2) as ['fresh' | 'spent', string]
const count = Number(clients)
const STEP = count / 10
const REFUSED = 100
const RATE = kind === 'fresh' ? '10 per 1h' : '1 per 1h'
/** Messages between two turns of the event loop, as of one socket chunk. */
const CHUNK = 1_000

const store = new MemoryStore()
const gate = new Gate({ store })
gate.use(
  'fleet/#',
  limit({ name: 'by-client', rate: RATE, per: 'client', exceeded: 'drop' }),
  limit({ name: 'by-topic', rate: RATE, per: ['client', 'topic'], exceeded: 'drop' }),
)
const warnings: TableFullWarning[] = []
gate.on('warning', warning => {
  if (warning.kind === 'table_full') warnings.push(warning)
})

function send(client: string, topic: string): Decision {
  const sender = createSender({ client, ip: '192.0.2.7' })
  return gate.check({ topic, on: 'publish', sender, size: 100 }) as Decision
}

/** How many of those who were refused before the flood are refused. */
function countRefused(): number {
  let refused = 0
  for (let index = 0; index < REFUSED; index++) {
    if (!send(`loud-${index}`, 'fleet/loud').allowed) refused++
  }
  return refused
}

/** Notes how things stand after so many steps, and returns how many keys there are. */
function note(step: number): number {
  const { keys = 0 } = store.health()
  const { heap, rss } = measureMemory()
  Object.assign(found, { [`heap${step}`]: heap, [`rss${step}`]: rss, [`keys${step}`]: keys })
  return keys
}

const found: Record<string, number> = {}
while (countRefused() < REFUSED) {
  // Each asks until it is refused.
}
note(0)
let mostKeys = 0
let measuringMs = 0
const start = performance.now()
for (let index = 0; index < count; index++) {
  send(`stranger-${index}`, `fleet/site-${index % 97}/stranger-${index}/state`)
  if (index % CHUNK === 0) await turn()
  if ((index + 1) % STEP !== 0) continue
  const measureStart = performance.now()
  mostKeys = Math.max(mostKeys, note((index + 1) / STEP))
  measuringMs += performance.now() - measureStart
}
const ns = ((performance.now() - start - measuringMs) * 1e6) / count
const stillRefused = countRefused()
if (stillRefused !== REFUSED)
  throw new Error(`${REFUSED - stillRefused} of ${REFUSED} are not refused any more`)
if (mostKeys > 2 * MAX_SIZES.keysPerRule) throw new Error(`${mostKeys} keys of two rules pass their bound`)
const { evictions = 0, overflows = 0 } = store.health()
report({ ...found, ns, stillRefused, evictions, overflows, warnings: warnings.length })
