import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { limitNats } from '../../brokers/nats/index.ts'
import { limit } from '../../src/index.ts'
import { GENERATIONS } from '../brokers/nats/client-versions.ts'
import { natsGate, numbers, textOf } from '../brokers/nats/scene.ts'
import { startServer } from '../support/server.ts'
import { until } from '../support/wait.ts'

/** A server that finds its streams again. */
function startKept(folder: string, port?: number) {
  return startServer({
    program: 'nats-server',
    variable: 'TOPICGATE_NATS_SERVER',
    args: at => ['--addr', '127.0.0.1', '--port', String(at), '--jetstream', '--store_dir', folder],
    ...(port === undefined ? {} : { port }),
  })
}

describe.each(GENERATIONS)('a server that dies in mid-run under $name', generation => {
  it.each(['throttle', 'retry'] as const)('loses nothing that %s holds or has sent back', async exceeded => {
    const folder = mkdtempSync(join(tmpdir(), 'topicgate-nats-'))
    let server = await startKept(folder)
    const options = { reconnectTimeWait: 100, maxReconnectAttempts: -1 }
    const nc = await generation.connect(`nats://127.0.0.1:${server.port}`, options)
    const limits = limitNats(natsGate(limit({ name: 'a', rate: '100/s burst 1', per: 'topic', exceeded })), {
      headers: generation.headers,
      connection: nc,
    })
    try {
      const js = await generation.jetstream(nc)
      await js.addStream('kept', ['kept.>'])
      const consumer = await js.addConsumer('kept', 'c', { ackWaitMs: 1_000 })
      await Promise.all(numbers(200).map(text => js.publish('kept.a', text)))
      const seen: string[] = []
      await limits.consume(consumer, message => void seen.push(textOf(message)), { expires: 2_000 })
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
      // What was handled before it was back may come again: its acknowledgement is lost, or was not written down yet.
      const handledBefore = new Set(seen.slice(0, before))
      const after = seen.filter(text => !handledBefore.has(text))
      expect(after).toHaveLength(200 - handledBefore.size)
    } finally {
      await limits.close()
      await nc.close()
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
