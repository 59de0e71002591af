import type { Decision } from '../src/index.ts'
import { median, report } from './harness.ts'
import { makeGate, makeLoad, makeMessage, type RATES } from './load.ts'

/** One cell: ns a decision. Arguments: subject, senders, rules, outcome, decisions. */
const [subject, senders, rules, outcome, decisions] = process.argv.slice(2) as [
  string,
  string,
  string,
  keyof typeof RATES,
  string,
]
const count = Number(senders)
const total = Number(decisions)
const load = makeLoad(count, total)
const PASSES = 3

async function measure(pass: () => number | Promise<number>): Promise<number> {
  const found: number[] = []
  for (let index = 0; index < PASSES; index++) found.push(await pass())
  return median(found)
}

async function measureTopicgate(): Promise<number> {
  const gate = makeGate(rules === '1' ? 1 : 3, outcome)
  for (let index = 0; index < count; index++) gate.check(makeMessage(load, index))
  let allowed = 0
  const ns = await measure(() => {
    const start = process.hrtime.bigint()
    for (let index = 0; index < total; index++) {
      const decision = gate.check(makeMessage(load, load.order[index]!)) as Decision
      if (decision.allowed) allowed++
    }
    return Number(process.hrtime.bigint() - start) / total
  })
  expectAll(allowed / PASSES)
  await gate.close()
  return ns
}

async function measureFlexible(): Promise<number> {
  const { RateLimiterMemory, RateLimiterUnion } = await import('rate-limiter-flexible')
  const options = { points: outcome === 'allowed' ? 2 ** 40 : 1, duration: 1_000_000 }
  const each = ['a', 'b', 'c'].map(keyPrefix => new RateLimiterMemory({ ...options, keyPrefix }))
  const limiter = rules === '1' ? each[0]! : new RateLimiterUnion(...each)
  const keys = load.senders.map(({ client }) => client!)
  let allowed = 0
  const consume = async (index: number): Promise<void> => {
    try {
      await limiter.consume(keys[index]!)
      allowed++
    } catch {
      // A refusal.
    }
  }
  for (let index = 0; index < count; index++) await consume(index)
  allowed = 0
  const ns = await measure(async () => {
    const start = process.hrtime.bigint()
    for (let index = 0; index < total; index++) await consume(load.order[index]!)
    return Number(process.hrtime.bigint() - start) / total
  })
  expectAll(allowed / PASSES)
  return ns
}

function expectAll(allowed: number): void {
  const expected = outcome === 'allowed' ? total : 0
  if (allowed !== expected) throw new Error(`${allowed} of ${total} were allowed, expected ${expected}`)
}

report({ ns: await (subject === 'topicgate' ? measureTopicgate() : measureFlexible()) })
