import { adaptive, type Clock, createSender, type Decision, Gate, limit } from '../src/index.ts'
import { report } from './harness.ts'

/** One cell: what a change of an adaptive factor costs. Argument: keys. */
const [keys] = process.argv.slice(2) as [string]
const count = Number(keys)

/** A clock that stands still but for one step, which lets the load be read. */
class Steps implements Clock {
  #nowMs = 1_700_000_000_000
  #due: (() => void)[] = []

  now(): number {
    return this.#nowMs
  }

  after(_ms: number, run: () => void): () => void {
    this.#due.push(run)
    return () => {}
  }

  step(): void {
    this.#nowMs += 1
    for (const run of this.#due.splice(0)) run()
  }
}

const clock = new Steps()
let load = 0.5
const gate = new Gate({ clock }).use(
  adaptive({ signal: () => load, everyMs: 1_000 }),
  limit({ name: 'all', rate: '7000/hour burst 100', per: 'client' }),
)
const senders = Array.from({ length: count }, (_, index) => createSender({ client: `client-${index}` }))

function checkAll(): { readonly meanNs: number; readonly longestMs: number } {
  let longestNs = 0
  const beginNs = process.hrtime.bigint()
  for (const sender of senders) {
    const startNs = process.hrtime.bigint()
    const decision = gate.check({ topic: 't', on: 'publish', sender, size: 1 }) as Decision
    longestNs = Math.max(longestNs, Number(process.hrtime.bigint() - startNs))
    if (!decision.allowed) throw new Error('a key was refused')
  }
  return { meanNs: Number(process.hrtime.bigint() - beginNs) / count, longestMs: longestNs / 1e6 }
}

checkAll()
const before = checkAll()
load = 0.9
clock.step()
const startNs = process.hrtime.bigint()
const { limit: scaled } = gate.check({ topic: 't', on: 'publish', sender: senders[0]!, size: 1 }) as Decision
const firstMs = Number(process.hrtime.bigint() - startNs) / 1e6
if (scaled !== 50) throw new Error('the factor has not changed')
const after = checkAll()
const settled = checkAll()
report({
  firstMs,
  beforeNs: before.meanNs,
  beforeLongestMs: before.longestMs,
  afterNs: after.meanNs,
  afterLongestMs: after.longestMs,
  settledNs: settled.meanNs,
})
await gate.close()
