import { AedesMessage } from '../brokers/aedes/message.ts'
import { compileCondition } from '../src/conditions/compile.ts'
import type { Message } from '../src/core/message.ts'
import { CONDITIONS, type ConditionWork } from './conditions-work.ts'
import { type Findings, median, report } from './harness.ts'

/** One cell: CPU of each kind of condition, and of JSON.parse on the same payloads. All in turn, in short passes. */
const PASSES = 15
const PASS_NS = 3e6

const passes = new Map<string, () => number>()
for (const [name, work] of Object.entries(CONDITIONS)) {
  passes.set(name, openPass(evaluate(work)))
  const { payload } = work
  if (payload !== undefined)
    passes.set(
      `${name} parse`,
      openPass(() => parse(payload)),
    )
}
const found = new Map([...passes.keys()].map(name => [name, [] as number[]]))
for (let round = 0; round < PASSES; round++) for (const [name, run] of passes) found.get(name)!.push(run())
const findings: Findings = Object.fromEntries([...found].map(([name, all]) => [name, median(all)]))
report(findings)

/** Returns a function that evaluates a condition on a new message, or on one of a few with headers. */
function evaluate({ when, payload, headers, protocol }: ConditionWork): () => unknown {
  const condition = compileCondition(when)
  const nowMs = Date.UTC(2026, 0, 5, 12)
  const packet = { topic: 'a/b', payload, qos: 0, retain: false }
  if (payload !== undefined) return () => condition(new AedesMessage('publish', {}, packet), nowMs)
  const messages: Message[] = Array.from({ length: 64 }, () => ({
    topic: 'a/b',
    on: 'publish',
    sender: {},
    size: 100,
    qos: 0,
    protocol: protocol ?? 'mqtt',
    headers: { ...headers },
  }))
  let at = 0
  return () => condition(messages[at++ & 63]!, nowMs)
}

function parse(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString())
  } catch {
    return undefined
  }
}

/** Returns a function that measures one pass. Its length is chosen by the first one. */
function openPass(work: () => unknown): () => number {
  let count = 10
  const run = (): number => {
    const start = process.cpuUsage()
    for (let index = 0; index < count; index++) work()
    const { user, system } = process.cpuUsage(start)
    return (user + system) * 1_000
  }
  for (let ns = run(); ns < PASS_NS; ns = run()) count *= 2
  return () => run() / count
}
