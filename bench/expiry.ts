import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import { createSender, Gate, limit, MemoryStore } from '../src/index.ts'
import { report } from './harness.ts'

/**
 * One cell: how long the event loop is kept while idle keys expire and are swept. Argument: keys. Nothing else
 * happens in the process, before or meanwhile.
 */
const count = Number(process.argv[2])
const IDLE_MS = 10_000
const LOOK_MS = 20
const PATIENCE_MS = 120_000

const store = new MemoryStore()
const gate = new Gate({ store })
/** A key that was used once is as if never seen after five seconds. */
gate.use(limit({ name: 'rule', rate: '10 per 50s', per: 'client' }))

/** Delays of the event loop while something runs, in milliseconds. */
async function watch(run: () => Promise<void>): Promise<{ p99: number; max: number }> {
  const delays = monitorEventLoopDelay({ resolution: 1 })
  delays.enable()
  await run()
  delays.disable()
  return { p99: delays.percentile(99) / 1e6, max: delays.max / 1e6 }
}

async function idle(): Promise<void> {
  // The same look, so that it is in both figures.
  for (const end = performance.now() + IDLE_MS; performance.now() < end; ) {
    await pause(LOOK_MS)
    store.health()
  }
}

await pause(1_000)
const before = await watch(idle)
for (let index = 0; index < count; index++) {
  const sender = createSender({ client: `client-${index}` })
  gate.check({ topic: 'a/b', on: 'publish', sender, size: 100 })
}
if (store.health().keys !== count)
  throw new Error(`${store.health().keys} of ${count} keys before the first expires`)
// What filling has left behind is not what is measured.
await pause(500)
let firstGoneMs = 0
let allGoneMs = 0
const start = performance.now()
const swept = await watch(async () => {
  while (performance.now() - start < PATIENCE_MS) {
    await pause(LOOK_MS)
    const { keys = 0 } = store.health()
    if (firstGoneMs === 0 && keys < count) firstGoneMs = performance.now() - start
    if (keys > 0) continue
    allGoneMs = performance.now() - start
    return
  }
  throw new Error(`${store.health().keys} keys are left after ${PATIENCE_MS} ms`)
})
report({
  idleP99: before.p99,
  idleMax: before.max,
  sweptP99: swept.p99,
  sweptMax: swept.max,
  sweepSeconds: (allGoneMs - firstGoneMs) / 1_000,
})
