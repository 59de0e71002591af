import { createSender, Gate, limit, type Message } from '../src/index.ts'
import { median, report } from './harness.ts'

/** One cell: ns a decision with many rules. Argument: how many patterns. */
const patterns = Number(process.argv[2])
const DECISIONS = 400_000
const gate = new Gate()
for (let index = 0; index < patterns; index++) {
  const topic = `plant/line-${index}/{machine}/${index % 3 === 0 ? '#' : 'state/+'}`
  gate.use(topic, limit({ name: `rule-${index}`, rate: '1000000/s burst 1000000', per: 'client' }))
}
const sender = createSender({ client: 'c' })

function check(topic: string): void {
  const message: Message = { topic, on: 'publish', sender, size: 10 }
  gate.check(message)
}

/** Topics seen before: the same ten in turn, more than a sender remembers. */
function warm(): number {
  const topics = Array.from(
    { length: 12 },
    (_, index) => `plant/line-${index % patterns}/m-${index}/state/on`,
  )
  const start = process.hrtime.bigint()
  for (let index = 0; index < DECISIONS; index++) check(topics[index % topics.length]!)
  return Number(process.hrtime.bigint() - start) / DECISIONS
}

/** Topics never seen before: each costs a walk of the trie and a new route. */
let fresh = 0
function cold(): number {
  const topics = Array.from({ length: DECISIONS / 4 }, () => `plant/line-${fresh % 10}/m-${fresh++}/state/on`)
  const start = process.hrtime.bigint()
  for (const topic of topics) check(topic)
  return Number(process.hrtime.bigint() - start) / topics.length
}

const passes = (run: () => number): number => median(Array.from({ length: 5 }, run))
report({ warm: passes(warm), cold: passes(cold) })
await gate.close()
