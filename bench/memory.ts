import { createSender, Gate, limit, type Sender } from '../src/index.ts'
import { measureMemory, report } from './harness.ts'

/**
 * One cell: bytes a key. Arguments: subject, keys. Key strings, and topics where each sender has its own, are made
 * before and stay alive, so that no subject is charged for them.
 */
const [subject, keys] = process.argv.slice(2) as [
  'state' | 'senders' | 'pairs' | 'flexible' | 'flexible-pairs',
  string,
]
const count = Number(keys)
const PERIOD_SECONDS = 3_600

const clients = Array.from({ length: count }, (_, index) => flat(`client-${index}`))
const topics = Array.from({ length: count }, (_, index) =>
  flat(`fleet/site-${index % 20}/device-${index}/telemetry/temperature`),
)
/** Whatever holds the state, so that it is alive when it is measured. */
const alive: unknown[] = []

/** A template's string is a rope at first; this one is as a parser of packets makes it. */
function flat(text: string): string {
  return Buffer.from(text).toString('latin1')
}

/** Every client has sent one message; of its sender nothing is left unless it is kept. */
function fillTopicgate(): void {
  const gate = new Gate()
  const per = subject === 'pairs' ? (['client', 'topic'] as const) : 'client'
  gate.use('fleet/#', limit({ name: 'rule', rate: `100 per ${PERIOD_SECONDS}s`, per, exceeded: 'drop' }))
  const senders: Sender[] = []
  if (subject === 'senders') senders.length = count
  for (let index = 0; index < count; index++) {
    const sender = createSender({ client: clients[index]!, ip: '192.0.2.7' })
    gate.check({ topic: topics[subject === 'state' ? 0 : index]!, on: 'publish', sender, size: 100 })
    if (subject === 'senders') senders[index] = sender
  }
  alive.push(gate, senders)
}

async function fillFlexible(): Promise<void> {
  const { RateLimiterMemory } = await import('rate-limiter-flexible')
  // Without a prefix, which would make a second string of each key.
  const limiter = new RateLimiterMemory({ points: 100, duration: PERIOD_SECONDS, keyPrefix: '' })
  for (let index = 0; index < count; index++) {
    const client = clients[index]!
    await limiter.consume(subject === 'flexible' ? client : `${client} ${topics[index]}`)
  }
  alive.push(limiter)
}

const isPeer = subject === 'flexible' || subject === 'flexible-pairs'
if (isPeer) await import('rate-limiter-flexible')
const before = measureMemory()
if (isPeer) await fillFlexible()
else fillTopicgate()
const after = measureMemory()
if (alive.length === 0 || clients.length !== topics.length) throw new Error('nothing was measured')
report({ bytes: (after.heap - before.heap) / count, rss: (after.rss - before.rss) / count })
