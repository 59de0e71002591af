import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { Aedes } from 'aedes'
import { beforeAll, expect, it } from 'vitest'
import { limitBroker } from '../../brokers/aedes/index.ts'
import { cpuSignal } from '../../src/adaptive/cpu-signal.ts'
import type { GroupCount } from '../../src/cli/simulation/group-counts.ts'
import { adaptive, Gate, limit, type Scaled } from '../../src/index.ts'
import { ensureBuilt } from '../support/built.ts'
import { startFleet } from '../support/fleet.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { until } from '../support/wait.ts'

beforeAll(ensureBuilt, 120_000)

const EVERY_MS = 400

/** A device within its limits, which loses nothing. */
const QUIET = `
for: 10m
fleet: [{ name: quiet, topic: from/quiet, qos: 1, send: { every: 150ms }, expect: { delivered: 100% } }]
`

/** A container of half a core that holds this process alone, whatever else the machine is busy with. */
const OWN = {
  cores: () => 0.5,
  cpuMs: () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1_000
  },
  memoryShare: () => undefined,
}

it('a broker under load lowers its limits, raises them again, and takes nothing from a quiet device', async () => {
  const load = adaptive({
    levels: { normal: '1 up to 70%', high: 0.5 },
    signals: [cpuSignal(OWN, () => [])],
    everyMs: EVERY_MS,
  })
  const gate = new Gate().use(
    load,
    limit({ name: 'all', rate: '40/s burst 40', per: 'client', exceeded: 'drop' }),
  )
  const changes: { readonly scaled: Scaled | undefined; readonly atMs: number }[] = []
  gate.on('scaled', scaled => changes.push({ scaled, atMs: performance.now() }))
  const broker = await Aedes.createBroker()
  const limits = limitBroker(broker, gate)
  const server = createServer({ noDelay: true }, socket => void broker.handle(socket))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  try {
    await using subscriber = await connectClient({ port, clientId: 'watch' })
    await subscriber.subscribe('from/#', 1)
    await using quiet = startFleet(QUIET, `mqtt://127.0.0.1:${port}`)
    // What starting all of this took is not a load.
    await until(() => (load.report().load ?? 1) < 0.4, { timeoutMs: 60_000, what: 'rest' })
    await until(() => load.report().scaled === undefined, {
      timeoutMs: 60_000,
      what: 'limits as they are written',
    })
    const before = changes.length
    const beginMs = performance.now()
    const worker = new Worker('for (;;);', { eval: true })
    await until(() => changes.length > before, { timeoutMs: 60_000, what: 'lower limits' })
    expect(changes[before]).toMatchObject({ scaled: { factor: 0.5, reason: 'load high' } })
    // Two intervals, and what a busy machine is late.
    expect(changes[before]!.atMs - beginMs).toBeLessThan(2 * EVERY_MS + 20_000)
    await sleep(4 * EVERY_MS)
    await using flood = await connectClient({ port, clientId: 'flood' })
    const floodMs = performance.now()
    for (let n = 0; n < 300; n++) await flood.publish('from/flood', 'x', { qos: 1 })
    const most = 20 + ((performance.now() - floodMs) / 1_000) * 20 + 1
    await worker.terminate()
    await until(() => load.report().scaled === undefined, { timeoutMs: 60_000, what: 'limits as before' })
    await sleep(6 * EVERY_MS)
    expect(changes.length - before).toBeLessThanOrEqual(4)
    expect(load.report().scaled).toBeUndefined()
    const [{ messages, delivered, disordered }] = (await quiet.end()) as [GroupCount]
    expect({ delivered, disordered }).toEqual({ delivered: messages, disordered: 0 })
    const passed = subscriber.messages.filter(each => each.topic === 'from/flood').length
    expect(passed).toBeGreaterThanOrEqual(20)
    expect(passed).toBeLessThanOrEqual(most)
    expect(limits.stats().dropped).toBe(300 - passed)
  } finally {
    server.close()
    await new Promise<void>(resolve => broker.close(() => resolve()))
    await gate.close()
  }
})
