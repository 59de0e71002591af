import { Analytics } from '../src/analytics/analytics.ts'
import type { Decision } from '../src/index.ts'
import { zipf } from '../test/src/analytics/zipf.ts'
import { median, report } from './harness.ts'
import { type Load, makeGate, makeLoad, makeMessage, RATES } from './load.ts'

/**
 * One cell: ns a decision with nobody listening, with an empty listener, and with analytics, in turns in one process.
 * Arguments: senders, rules, outcome: `allowed` and `refused` of senders by even chance, a rate of senders by Zipf's law.
 * CPU time, so that other programs on the machine count less.
 */
const [senders, rules, outcome] = process.argv.slice(2) as [
  string,
  string,
  keyof typeof RATES | `${number}/s`,
]
const DECISIONS = 200_000
/** Turns are short, and there and back: a machine that is faster or slower for a while is so for all three. */
const TURN = 20_000
const ROUNDS = 160
/** They compile, and give each sender its places. */
const WARMING = 40

const count = Number(senders)
function order(): Load {
  const load = makeLoad(count, DECISIONS)
  if (outcome in RATES) return load
  const draw = zipf(count, 11)
  return { ...load, order: load.order.map(draw) }
}
const gates = {
  off: makeGate(rules === '1' ? 1 : 3, outcome),
  heard: makeGate(rules === '1' ? 1 : 3, outcome),
  analytics: makeGate(rules === '1' ? 1 : 3, outcome),
}
let heard = 0
gates.heard.on('decision', () => {
  heard++
})
const analytics = new Analytics({ gate: gates.analytics })

type Subject = keyof typeof gates
const loads: Readonly<Record<Subject, Load>> = {
  off: order(),
  heard: order(),
  analytics: order(),
}
function pass(subject: Subject, round: number): number {
  const gate = gates[subject]
  const own = loads[subject]
  const first = (round * TURN) % DECISIONS
  const start = process.cpuUsage()
  for (let index = first; index < first + TURN; index++) {
    void (gate.check(makeMessage(own, own.order[index]!)) as Decision)
  }
  const { user, system } = process.cpuUsage(start)
  return ((user + system) * 1_000) / TURN
}

const subjects = ['off', 'heard', 'analytics'] as const
const found: Record<Subject, number[]> = { off: [], heard: [], analytics: [] }
for (let round = 0; round < ROUNDS; round++) {
  for (const subject of round % 2 === 0 ? subjects : subjects.toReversed())
    found[subject].push(pass(subject, round))
}
const { total } = analytics.totals()
if (total !== ROUNDS * TURN || heard !== total) throw new Error(`${total} of ${ROUNDS * TURN} were counted`)
// By rounds: what else the machine did meanwhile met all three.
const settled = (of: (round: number) => number): number =>
  median(Array.from({ length: ROUNDS - WARMING }, (_, index) => of(index + WARMING)))
const [off, listened, counted] = subjects.map(subject => settled(round => found[subject][round]!))
const more = settled(round => found.analytics[round]! - found.off[round]!)
report({ off: off!, heard: listened!, analytics: counted!, more, ratio: 1 + more / off! })
