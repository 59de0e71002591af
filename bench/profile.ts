import type { Rule } from '../src/chain/rules/create-limit-middleware.ts'
import { findSenderState, type SenderState } from '../src/chain/senders/sender-state.ts'
import { systemClock } from '../src/core/clock.ts'
import { type Decision, MemoryStore, type Message } from '../src/index.ts'
import { STAGES } from './breakdown.ts'
import { report } from './harness.ts'
import { makeGate, makeLoad, makeMessage, type RATES } from './load.ts'

/**
 * One cell: ns a message of a loop that does the first so many stages of a decision, with the gate's own parts where
 * there are some. Arguments: stage, outcome. The last stage is the gate itself.
 */
const SENDERS = 10_000
const MESSAGES = 200_000
const PASSES = 9
const WHOLE = STAGES.length - 1

class Bare {
  readonly rule: Rule
  readonly cells = new Float64Array(2 * (SENDERS + 1))
  slot = 0
  deficit = 0
  constructor(rule: Rule) {
    this.rule = rule
  }
}

function slotOf(senderState: SenderState, place: number): number {
  return place === 0 ? senderState.slot0 : place === 1 ? senderState.slot1 : senderState.slot2
}

function generationOf(senderState: SenderState, place: number): number {
  return place === 0
    ? senderState.generation0
    : place === 1
      ? senderState.generation1
      : senderState.generation2
}

async function measure(stage: number, outcome: keyof typeof RATES): Promise<number> {
  const load = makeLoad(SENDERS, MESSAGES)
  const gate = makeGate(3, outcome)
  const messages = Array.from({ length: SENDERS }, (_, index) => makeMessage(load, index))
  for (const message of messages) gate.check(message)
  const { store } = gate
  const first = findSenderState(load.senders[0]!)!
  const { routes, senderPlan } = first
  const { evaluator } = senderPlan!
  const last = senderPlan!.plan.steps.at(-1)
  if (last?.kind !== 'limits' || !(store instanceof MemoryStore))
    throw new Error('not the plan of this bench')
  const rules = last.rules.map(({ rule }) => new Bare(rule))
  const records = rules.map(({ rule }) => store.table(rule.limit).records)
  const startMs = systemClock.now()
  for (const { cells } of rules) cells.fill(outcome === 'allowed' ? 0 : startMs)
  let passed = 0

  function arithmetic(senderState: SenderState, nowMs: number): boolean {
    let fits = true
    for (let place = 0; place < rules.length; place++) {
      const one = rules[place]!
      const { limit } = one.rule
      const slot = slotOf(senderState, place)
      if (stage >= 3 && !records[place]!.isOf(slot, generationOf(senderState, place)))
        throw new Error('a slot is stale')
      one.slot = slot
      const deficit = Math.max(
        0,
        one.cells[2 * slot + 1]! - (nowMs - one.cells[2 * slot]!) * limit.stepsPerMs,
      )
      one.deficit = deficit + limit.stepsPerGrain
      if (one.deficit > limit.capacitySteps) fits = false
    }
    if (!fits) return false
    for (let place = 0; place < rules.length; place++) {
      const one = rules[place]!
      one.cells[2 * one.slot] = nowMs
      one.cells[2 * one.slot + 1] = one.deficit
    }
    return true
  }

  function step(message: Message): boolean {
    const nowMs = stage >= 6 ? systemClock.now() : startMs
    const senderState = findSenderState(message.sender)!
    if (stage >= 1) {
      const isSame =
        senderState.routes === routes &&
        senderState.owner === message.sender &&
        senderState.topic === message.topic &&
        senderState.on === message.on
      if (!isSame) throw new Error('a seat is void')
    }
    if (stage >= 2) {
      const { exempt, conditional } = senderState.senderPlan!
      if (exempt !== undefined || conditional.length > 0) throw new Error('no sender of this bench is exempt')
    }
    return stage >= 4
      ? (evaluator.decide(message, senderState, nowMs) as Decision).allowed
      : arithmetic(senderState, nowMs)
  }

  const { order } = load
  const found: number[] = []
  for (let pass = 0; pass < PASSES; pass++) {
    const start = process.hrtime.bigint()
    for (let index = 0; index < MESSAGES; index++) {
      const sender = order[index]!
      const message = stage >= 5 ? makeMessage(load, sender) : messages[sender]!
      const allowed = stage === WHOLE ? (gate.check(message) as Decision).allowed : step(message)
      if (allowed) passed++
    }
    found.push(Number(process.hrtime.bigint() - start) / MESSAGES)
  }
  const expected = outcome === 'allowed' ? PASSES * MESSAGES : 0
  if (passed !== expected) throw new Error(`${passed} of ${PASSES * MESSAGES} passed, expected ${expected}`)
  await gate.close()
  return Math.min(...found)
}

const [stage, outcome] = process.argv.slice(2) as [string, keyof typeof RATES]
report({ ns: await measure(Number(stage), outcome) })
