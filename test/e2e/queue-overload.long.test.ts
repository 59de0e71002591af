import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { limit } from '../../src/chain/rules/create-limit-middleware.ts'
import { Gate } from '../../src/gate/gate.ts'
import { startBroker } from '../brokers/aedes/harness.ts'
import { RANKS, Watch, type Work } from './overload-watch.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Ten in the suite; more by the environment. */
const SECONDS = Number(process.env.TOPICGATE_OVERLOAD_SECONDS ?? 10)
const SENDERS = 20
const PER_SECOND = 40
const RATE = 200
const BURST = 20
const MAX = 1_000
/** Sends four times what may pass; resolves with how many were sent, and acknowledged, to the last. */
function overload(port: number): Promise<{ readonly sent: number; readonly acknowledged: number }> {
  const options = { port, senders: SENDERS, perSecond: PER_SECOND, forMs: SECONDS * 1_000, ranks: RANKS }
  const path = fileURLToPath(new URL('./overload.js', import.meta.url))
  const child = fork(path, [JSON.stringify(options)], { execArgv: [] })
  return new Promise((resolve, reject) => {
    let sent = 0
    child.on('message', (told: { kind: string; sent: number; acknowledged: number }) => {
      if (told.kind === 'sent') sent = told.sent
      else resolve({ sent, acknowledged: told.acknowledged })
    })
    child.once('exit', code => reject(new Error(`the senders ended with ${code}`)))
  })
}

it(`a queue under four times its rate for ${SECONDS} s releases the urgent first and in fair turns, within its bounds`, {
  timeout: SECONDS * 1_000 + 60_000,
}, async () => {
  const queue = { max: MAX, order: 'priority', upTo: '2m', then: 'drop' } as const
  const gate = new Gate().use(
    'work/#',
    limit({ name: 'work', rate: `${RATE}/s burst ${BURST}`, exceeded: { queue } }),
  )
  const watch = new Watch()
  const running = await startBroker({ gate })
  running.broker.authorizePublish = (client, packet, done) => {
    watch.come(client!.id, JSON.parse(packet.payload.toString()) as Work)
    done(null)
  }
  gate.on('decision', ({ allowed }, message) => {
    if (allowed && message.on === 'publish') watch.release(message.sender.client!, message.payload!() as Work)
  })
  try {
    collect()
    const beforeBytes = process.memoryUsage().heapUsed
    let mostBytes = 0
    const look = setInterval(() => {
      mostBytes = Math.max(mostBytes, process.memoryUsage().heapUsed - beforeBytes)
    }, 100)
    const startMs = performance.now()
    const { sent, acknowledged } = await overload(running.port)
    const seconds = (performance.now() - startMs) / 1_000
    clearInterval(look)
    const { held, heldPeak, overflowed, dropped, superseded, discarded } = running.limits.stats()

    expect(sent).toBe(SENDERS * PER_SECOND * SECONDS)
    // Whatever is promised is answered for: released, or refused as the policy says.
    expect(acknowledged).toBe(sent)
    const passed = Object.values(watch.released).reduce((sum, count) => sum + count, 0)
    expect(passed + dropped).toBe(sent)
    expect({ held, superseded, discarded, overflowed }).toEqual({
      held: 0,
      superseded: 0,
      discarded: 0,
      overflowed: dropped,
    })
    expect(passed).toBeLessThanOrEqual(BURST + RATE * seconds)
    expect(passed).toBeGreaterThanOrEqual(RATE * SECONDS)

    expect(watch.released.emergency).toBe(sent / RANKS.length)
    expect(watch.overtaken).toBe(0)

    const fair = passed / SENDERS
    expect(watch.perSender.size).toBe(SENDERS)
    for (const count of watch.perSender.values())
      expect(Math.abs(count - fair)).toBeLessThanOrEqual(fair / 10)

    expect(heldPeak).toBe(MAX)
    expect(mostBytes).toBeLessThan(64_000_000)
    const spread = [...watch.perSender.values()].sort((a, b) => a - b)
    console.log(
      `${sent} sent, ${passed} passed in ${seconds.toFixed(1)} s: ${JSON.stringify(watch.released)}; of each sender ` +
        `${spread[0]} to ${spread.at(-1)}; an emergency waited ${watch.longestUrgentMs.toFixed(0)} ms at the longest; ` +
        `${(mostBytes / 1e6).toFixed(1)} MB more`,
    )
  } finally {
    await running.close()
  }
})
