import { connect, type IClientOptions, type MqttClient } from 'mqtt'
import { beforeAll, describe, expect, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { CLI, ensureBuilt } from '../support/built.ts'
import { freePort } from '../support/ports.ts'
import { type Program, startNode } from '../support/program.ts'
import { until } from '../support/wait.ts'
import { logged } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

/** More unreleased messages of QoS 2 than a thousand make aedes disconnect. */
const COUNT = 900
const RATE = 100

async function startBroker(policy: string, port: number): Promise<Program> {
  const broker = startNode([CLI, 'broker', policy, '--port', String(port)], { timeoutMs: 120_000 })
  await logged(broker, /"msg":"ready/)
  return broker
}

/** A client that connects when it is told to; unless it says otherwise, its session outlives its connections. */
function open(port: number, clientId: string, options: IClientOptions = {}): MqttClient {
  const client = connect({ host: '127.0.0.1', port, clientId, clean: false, reconnectPeriod: 0, ...options })
  client.on('error', () => {})
  return client
}

async function again(client: MqttClient): Promise<void> {
  const { incomingStore, outgoingStore } = client
  client.reconnect({ incomingStore, outgoingStore })
  await until(() => client.connected)
}

describe('a broker that is told to end while it holds what may not pass yet', () => {
  it.each([
    ['queue', 1],
    ['queue', 2],
    ['throttle', 1],
  ] as const)(
    'by %s, at QoS %d: whatever was acknowledged was delivered, the rest is sent again',
    async (exceeded, qos) => {
      using folder = new Folder()
      const rule = `{ name: slow, topic: "t/#", limit: ${RATE}/s burst 1, exceeded: ${exceeded} }`
      const policy = folder.file('policy.yaml', `rules: [${rule}]\n`)
      const port = await freePort()
      const acknowledged = new Set<number>()
      const seen: number[] = []
      let first: { readonly acknowledged: readonly number[]; readonly delivered: ReadonlySet<number> }
      // Of a session that lasts, aedes itself loses one of some hundred messages of QoS 2, without any limits.
      const [subscriber, publisher] = [open(port, 'subscriber', { clean: true }), open(port, 'publisher')]
      subscriber.on('message', (_topic, payload) => seen.push(Number(payload.toString())))
      try {
        {
          await using broker = await startBroker(policy, port)
          await Promise.all([again(subscriber), again(publisher)])
          await subscriber.subscribeAsync('t/#', { qos })
          for (let n = 0; n < COUNT; n++) {
            publisher.publish(`t/${n % 7}`, String(n), { qos }, error => {
              if (!error) acknowledged.add(n)
            })
          }
          await until(() => acknowledged.size >= RATE)
          broker.signal('SIGTERM')
          const { code, stderr } = await broker.ended
          expect([code, stderr]).toEqual([0, ''])
          await until(() => !subscriber.connected && !publisher.connected)
          first = { acknowledged: [...acknowledged], delivered: new Set(seen) }
        }
        expect(first.acknowledged.filter(n => !first.delivered.has(n))).toEqual([])
        expect(first.delivered.size).toBeLessThan(COUNT)

        const free = folder.file('free.yaml', 'rules: []\n')
        await using _broker = await startBroker(free, port)
        await again(subscriber)
        await subscriber.subscribeAsync('t/#', { qos })
        await again(publisher)
        await until(() => acknowledged.size === COUNT, { timeoutMs: 60_000 })
        await until(() => new Set(seen).size === COUNT, { timeoutMs: 60_000 })
        // What comes twice was delivered and not acknowledged.
        expect(seen.length - COUNT).toBeLessThanOrEqual(first.delivered.size - first.acknowledged.length)
      } finally {
        await Promise.all([subscriber.endAsync(true), publisher.endAsync(true)])
      }
    },
  )
})
