import { connect, headers } from '@nats-io/transport-node'
import { limitNats } from '../../brokers/nats/index.ts'
import { type Decision, Gate, type Store } from '../../src/index.ts'
import { startBroker } from '../brokers/aedes/harness.ts'
import { until } from '../support/wait.ts'

/** A way for messages to a gate, and what it makes of them. */
export interface Door {
  readonly gate: Gate
  /** Sends messages of one topic at once; all of them are decided when it resolves. */
  send(topic: string, count: number): Promise<Sent>
  close(): Promise<void>
}

export interface Sent {
  readonly decisions: readonly Decision[]
  /** Messages that came out at the other end. */
  readonly delivered: number
  /** Until the last was decided. */
  readonly tookMs: number
}

export const DOORS = ['Gate', 'limitBroker', 'limitNats'] as const

const RULES = [
  { name: 'daily', per: 'topic', limit: '10/day', algorithm: 'fixed-window', exceeded: 'drop' },
] as const

async function openGate(store: Store, dialect: 'mqtt' | 'nats'): Promise<Gate> {
  return Gate.fromPolicy({ dialect, rules: RULES.map(rule => ({ ...rule })) }, { store })
}

/** Counts what a gate decides, by topic. */
function countDecisions(gate: Gate): Map<string, Decision[]> {
  const seen = new Map<string, Decision[]>()
  gate.on('decision', (decision, { topic }) => {
    const list = seen.get(topic) ?? []
    seen.set(topic, list)
    list.push(decision)
  })
  return seen
}

/** Sends messages of a topic, and waits until all are decided and those that passed have arrived. */
async function collect(
  topic: string,
  count: number,
  seen: ReadonlyMap<string, readonly Decision[]>,
  arrived: ReadonlyMap<string, number>,
  send: () => void,
): Promise<Sent> {
  const startMs = performance.now()
  const [decidedBefore, arrivedBefore] = [seen.get(topic)?.length ?? 0, arrived.get(topic) ?? 0]
  send()
  const decisions = await until(() => {
    const list = (seen.get(topic) ?? []).slice(decidedBefore)
    return list.length >= count ? list : undefined
  })
  const tookMs = performance.now() - startMs
  const passed = decisions.filter(({ allowed }) => allowed).length
  const delivered = (): number => (arrived.get(topic) ?? 0) - arrivedBefore
  await until(() => delivered() >= passed, { what: `the ${passed} messages that passed` })
  return { decisions, delivered: delivered(), tookMs }
}

function countArrival(arrived: Map<string, number>, topic: string): void {
  arrived.set(topic, (arrived.get(topic) ?? 0) + 1)
}

export async function openDoor(kind: (typeof DOORS)[number], store: Store, natsUrl: string): Promise<Door> {
  if (kind === 'Gate') return openGateDoor(store)
  return kind === 'limitBroker' ? openBrokerDoor(store) : openNatsDoor(store, natsUrl)
}

async function openGateDoor(store: Store): Promise<Door> {
  const gate = await openGate(store, 'mqtt')
  return {
    gate,
    async send(topic, count) {
      const startMs = performance.now()
      const message = { topic, on: 'publish', sender: { client: 'c' }, size: 1 } as const
      const decisions = await Promise.all(Array.from({ length: count }, () => gate.check(message)))
      const delivered = decisions.filter(({ allowed }) => allowed).length
      return { decisions, delivered, tookMs: performance.now() - startMs }
    },
    close: () => gate.close(),
  }
}

async function openBrokerDoor(store: Store): Promise<Door> {
  const gate = await openGate(store, 'mqtt')
  const seen = countDecisions(gate)
  const arrived = new Map<string, number>()
  const broker = await startBroker({ gate })
  const subscriber = await broker.connect({ clientId: 'subscriber' })
  subscriber.on('message', topic => countArrival(arrived, topic))
  await subscriber.subscribeAsync('#')
  const sender = await broker.connect({ clientId: 'sender' })
  return {
    gate,
    send: (topic, count) =>
      collect(topic, count, seen, arrived, () => {
        for (let index = 0; index < count; index++) sender.publish(topic, 'x')
      }),
    close: () => broker.close(),
  }
}

async function openNatsDoor(store: Store, url: string): Promise<Door> {
  const gate = await openGate(store, 'nats')
  const seen = countDecisions(gate)
  const arrived = new Map<string, number>()
  const nc = await connect({ servers: url })
  // All doors share the server: each has subjects of its own.
  const own = `d${doors++}`
  const limits = limitNats(gate, { headers })
  limits.subscribe(nc, `${own}.>`, {
    callback: ({ subject }) => countArrival(arrived, subject),
  })
  await nc.flush()
  return {
    gate,
    send: (topic, count) =>
      collect(`${own}.${topic}`, count, seen, arrived, () => {
        for (let index = 0; index < count; index++) nc.publish(`${own}.${topic}`, 'x')
      }),
    async close() {
      await limits.drain({ timeoutMs: 100 })
      await nc.close()
      await gate.close()
    },
  }
}

let doors = 0
