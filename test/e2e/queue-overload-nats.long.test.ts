import { describe, expect, it } from 'vitest'
import { limitNats } from '../../brokers/nats/index.ts'
import { Gate, limit } from '../../src/index.ts'
import { GENERATIONS } from '../brokers/nats/client-versions.ts'
import { startNats } from '../support/nats.ts'
import { until } from '../support/wait.ts'
import { RANKS, Watch, type Work } from './overload-watch.ts'

const SECONDS = 4
const SENDERS = 20
const PER_SECOND = 40
const RATE = 200
const MAX = 500

describe('a queue before a consumer under four times its rate', () => {
  it.each([
    ['core', GENERATIONS[0]!],
    ['JetStream', GENERATIONS[1]!],
  ] as const)(
    'of %s releases the urgent first and in fair turns, within its bounds',
    async (kind, generation) => {
      await using server = await startNats({ jetstream: kind === 'JetStream' })
      const [nc, sender] = [await generation.connect(server.url), await generation.connect(server.url)]
      const queue = { max: MAX, order: 'priority', upTo: '1m', then: 'drop' } as const
      const gate = new Gate({ dialect: 'nats' }).use(
        limit({ name: 'work', rate: `${RATE}/s burst 20`, exceeded: { queue } }),
      )
      const watch = new Watch()
      gate.on('decision', ({ allowed }, message) => {
        if (allowed) watch.release(message.sender.client!, message.payload!() as Work)
      })
      const limits = limitNats(gate, {
        headers: generation.headers,
        connection: nc,
        // Asked for each message as it comes.
        identify: ({ subject, data }) => {
          const [, client] = subject.split('.')
          watch.come(client!, JSON.parse(Buffer.from(data).toString()) as Work)
          return { client: client! }
        },
      })
      let handled = 0
      const handle = (): void => void handled++
      try {
        const js = kind === 'JetStream' ? await generation.jetstream(sender) : undefined
        await js?.addStream('s', ['work.*.*'])
        if (js === undefined) limits.subscribe(nc, 'work.*.*', { callback: handle })
        else await limits.consume(await js.addConsumer('s', 'c'), handle)
        await nc.flush()

        const startMs = performance.now()
        const each = PER_SECOND * SECONDS
        const stored: unknown[] = []
        for (let n = 0; n < each; ) {
          const due = Math.min(each, Math.floor(((performance.now() - startMs) / 1_000) * PER_SECOND))
          for (; n < due; n++) {
            const payload = JSON.stringify({ priority: RANKS[n % RANKS.length], n })
            for (let index = 0; index < SENDERS; index++) {
              const subject = `work.s${index}.${RANKS[n % RANKS.length]}`
              if (js === undefined) sender.publish(subject, Buffer.from(payload))
              else stored.push(js.publish(subject, payload))
            }
          }
          await new Promise(resolve => setTimeout(resolve, 5))
        }
        await Promise.all(stored)
        const sent = each * SENDERS
        await until(() => handled + limits.stats().overflowed === sent, {
          timeoutMs: 60_000,
          what: () => `${sent} messages; ${handled} were handled, ${JSON.stringify(limits.stats())}`,
        })
        const seconds = (performance.now() - startMs) / 1_000

        expect(watch.passed).toBe(handled)
        expect(handled).toBeLessThanOrEqual(20 + RATE * seconds)
        expect(handled).toBeGreaterThanOrEqual(RATE * SECONDS)
        expect(watch.released.emergency).toBe(sent / RANKS.length)
        expect(watch.overtaken).toBe(0)
        expect(limits.stats()).toMatchObject({ held: 0, heldPeak: MAX })
        const fair = handled / SENDERS
        expect(watch.perSender.size).toBe(SENDERS)
        for (const count of watch.perSender.values())
          expect(Math.abs(count - fair)).toBeLessThanOrEqual(fair / 10)
        if (js !== undefined) {
          // The last acknowledgements may be on their way.
          await until(async () => (await js.state('s', 'c')).num_ack_pending === 0)
          const { num_pending, num_redelivered } = await js.state('s', 'c')
          expect([num_pending, num_redelivered]).toEqual([0, 0])
        }
      } finally {
        await limits.close()
        await Promise.all([nc.close(), sender.close(), gate.close()])
      }
    },
  )
})
