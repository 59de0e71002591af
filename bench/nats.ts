import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { limitNats, type NatsConnection } from '../brokers/nats/index.ts'
import { Gate, limit } from '../src/index.ts'
import { startNats } from '../test/support/nats.ts'
import { measureMemory, median, report } from './harness.ts'

/**
 * One cell. `compare`, a kind (core; jetstream; manual: acknowledged by the handler) and a generation of the client (2, 3): CPU of a consumer per message, with and
 * without topicgate. Both are processes of their own that live side by side on one server and take short slices in turns, so
 * that a machine whose speed changes meets both alike; `kept` is the median of what neighbours take, one of the other.
 * `queued` and a count: the heap of queued messages.
 */
const [what, kind = 'core', generation = '3'] = process.argv.slice(2)
const SLICE = 20_000
/** Slices before those that count: a consumer runs for days, its first second is that of the compiler. */
const WARM_UP = 5
const SLICES = 24

const server = await startNats({ jetstream: kind !== 'core' })

async function start(cell: string, ...args: readonly string[]): Promise<ChildProcess> {
  const child = fork(fileURLToPath(new URL(`./${cell}.js`, import.meta.url)), [server.url, ...args])
  await once(child, 'message')
  return child
}

async function tell(child: ChildProcess, word: readonly [string, number] | 'go'): Promise<unknown> {
  const answer = once(child, 'message')
  child.send(word)
  return (await answer)[0]
}

async function makeStream(name: string): Promise<void> {
  const nc = await connect({ servers: server.url })
  const manager = await jetstreamManager(nc)
  await manager.streams.add({ name, subjects: [`${name}.>`], storage: 'memory', retention: 'workqueue' })
  const consumer = { durable_name: 'bench', ack_policy: 'explicit', max_ack_pending: -1 } as const
  await manager.consumers.add(name, consumer)
  await nc.close()
}

async function compare(): Promise<void> {
  const flood = await start('nats-flood')
  const open = async (subject: string, token: string): Promise<() => Promise<number>> => {
    if (kind !== 'core') await makeStream(token)
    const child = await start('nats-consumer', subject, kind, generation, token, String(SLICE))
    return async () => {
      // Of a stream a slice lies ready before it is taken; of core NATS it comes as it is sent.
      if (kind !== 'core') await tell(flood, [token, SLICE])
      const taken = tell(child, 'go')
      if (kind === 'core') await tell(flood, [token, SLICE])
      return (await taken) as number
    }
  }
  const bare = await open('bare', 'fleet')
  const limited = await open('topicgate', 'float')
  const pairs: (readonly [number, number])[] = []
  for (let slice = 0; slice < WARM_UP + SLICES; slice++) {
    const first = slice % 2 === 0 ? await bare() : await limited()
    const second = slice % 2 === 0 ? await limited() : await bare()
    if (slice >= WARM_UP) pairs.push(slice % 2 === 0 ? [first, second] : [second, first])
  }
  await server.stop()
  report({
    bareNs: median(pairs.map(([alone]) => alone)),
    limitedNs: median(pairs.map(([, with_]) => with_)),
    kept: median(pairs.map(([alone, with_]) => alone / with_)),
  })
}

async function queue(count: number): Promise<void> {
  const nc = (await connect({ servers: server.url })) as unknown as NatsConnection & {
    flush(): Promise<void>
  }
  const exceeded = { queue: { max: 100_000, bytes: '256MiB' } } as const
  const gate = new Gate({ dialect: 'nats' }).use(
    'fleet.{site}.{device}.>',
    limit({ name: 'by-device', rate: '1/min', per: 'device', exceeded }),
    limit({ name: 'by-site', rate: '1/min', per: 'site', exceeded }),
    limit({ name: 'by-topic', rate: '1/min', per: 'topic', exceeded }),
  )
  const limits = limitNats(gate)
  const before = measureMemory()
  limits.subscribe(nc, 'fleet.>', { callback: () => {} })
  await nc.flush()
  const flood = await start('nats-flood')
  await tell(flood, ['fleet', count])
  while (limits.stats().received < count) await new Promise(resolve => setTimeout(resolve, 20))
  const after = measureMemory()
  const { held } = limits.stats()
  await server.stop()
  report({ held, bytesEach: (after.heap - before.heap) / held })
}

if (what === 'queued') await queue(Number(kind))
else await compare()
