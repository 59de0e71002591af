import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type JetStreamMessage, limitNats } from '../../brokers/nats/index.ts'
import { limit } from '../../src/index.ts'
import { GENERATIONS } from '../brokers/nats/client-versions.ts'
import { natsGate, numbers, textOf } from '../brokers/nats/scene.ts'
import { startServer } from '../support/server.ts'
import { until } from '../support/wait.ts'

/** Starts a server that keeps its streams in a folder. */
function startKept(folder: string, port?: number) {
  return startServer({
    program: 'nats-server',
    variable: 'TOPICGATE_NATS_SERVER',
    args: at => ['--addr', '127.0.0.1', '--port', String(at), '--jetstream', '--store_dir', folder],
    ...(port === undefined ? {} : { port }),
  })
}

describe.each(GENERATIONS)('a server that dies in mid-run under $name', generation => {
  it.each(['throttle', 'retry'] as const)(
    'loses no message that %s holds or has sent back',
    async exceeded => {
      const folder = mkdtempSync(join(tmpdir(), 'topicgate-nats-'))
      let server = await startKept(folder)
      const options = { reconnectTimeWait: 100, maxReconnectAttempts: -1 }
      const nc = await generation.connect(`nats://127.0.0.1:${server.port}`, options)
      const limits = limitNats(
        natsGate(limit({ name: 'a', rate: '100/s burst 1', per: 'topic', exceeded })),
        {
          headers: generation.headers,
          connection: nc,
        },
      )
      try {
        const js = await generation.jetstream(nc)
        await js.addStream('kept', ['kept.>'])
        const consumer = await js.addConsumer('kept', 'c', { ackWaitMs: 1_000 })
        await Promise.all(numbers(200).map(text => js.publish('kept.a', text)))
        const seen: string[] = []
        const deliveries: string[] = []
        const handle = (message: JetStreamMessage): void => {
          seen.push(textOf(message))
          deliveries.push(
            `${textOf(message)} in delivery ${(message.info as { deliverySequence?: number }).deliverySequence}`,
          )
        }
        await limits.consume(consumer, handle, { expires: 2_000 })
        await until(() => seen.length >= 50)
        await server.stop('SIGKILL')
        server = await startKept(folder, server.port)
        await until(() => nc.flush().then(() => true))
        const before = seen.length
        await until(
          async () => {
            const { num_ack_pending, num_pending } = await js.state('kept', 'c')
            return num_ack_pending + num_pending === 0 && new Set(seen).size === 200
          },
          { timeoutMs: 60_000, everyMs: 50, what: () => `200, had ${before}, ${new Set(seen).size}` },
        )
        expect(before).toBeLessThan(200)
        // The server delivers a message again if it has lost the acknowledgement, or gets it after `ackWaitMs`. It uses the
        // numbers of deliveries again that it had not stored when it died; those may have been held here meanwhile.
        const counts = new Map<string, number>()
        for (const delivery of deliveries.slice(before)) counts.set(delivery, (counts.get(delivery) ?? 0) + 1)
        expect([...counts].filter(([, count]) => count > 2)).toEqual([])
      } finally {
        await limits.close()
        await nc.close()
        await server.stop()
        rmSync(folder, { recursive: true, force: true })
      }
    },
  )
})
