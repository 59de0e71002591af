import { describe, expect, it } from 'vitest'
import { type Decision, PASSED } from '../../../src/core/decision.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import type { Message } from '../../../src/core/message.ts'
import { Guard } from '../../../src/guard/guard.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const messageOf = (client: number): Message => ({
  topic: 't',
  on: 'publish',
  sender: { client: String(client) },
  size: 0,
})

/** A gate that answers on request. */
class SlowGate {
  readonly clock = new FakeClock()
  readonly asked: string[] = []
  readonly #answers: ((decision: Decision) => void)[] = []

  check(message: Message): Promise<Decision> {
    this.asked.push(message.sender.client!)
    return new Promise(resolve => this.#answers.push(resolve))
  }

  answer(count: number): void {
    for (const resolve of this.#answers.splice(0, count)) resolve(PASSED)
  }

  ruleOf(): undefined {
    return undefined
  }
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

describe('checks whose answers come later', () => {
  it('are bounded over all senders, and run in order', async () => {
    const gate = new SlowGate()
    const guard = new Guard(gate)
    const count = MAX_SIZES.concurrentChecks + 500
    const decided = Array.from({ length: count }, (_, index) => guard.ask(messageOf(index)))
    await turn()
    expect(gate.asked).toHaveLength(MAX_SIZES.concurrentChecks)
    gate.answer(200)
    await turn()
    expect(gate.asked).toHaveLength(MAX_SIZES.concurrentChecks + 200)
    gate.answer(count)
    await turn()
    gate.answer(count)
    expect((await Promise.all(decided)).every(({ allowed }) => allowed)).toBe(true)
    expect(gate.asked).toEqual(Array.from({ length: count }, (_, index) => String(index)))
  })

  it('wait up to a bound: further ones run at once', async () => {
    const gate = new SlowGate()
    const guard = new Guard(gate)
    const count = MAX_SIZES.concurrentChecks + MAX_SIZES.queuedChecks
    for (let index = 0; index < count + 3; index++) void guard.ask(messageOf(index))
    expect(gate.asked).toHaveLength(MAX_SIZES.concurrentChecks + 3)
    guard.close()
  })

  it('are refused while they wait when the guard is closed', async () => {
    const gate = new SlowGate()
    const guard = new Guard(gate)
    for (let index = 0; index < MAX_SIZES.concurrentChecks; index++) void guard.ask(messageOf(index))
    const waiting = guard.ask(messageOf(-1))
    guard.close()
    expect(await waiting).toMatchObject({ allowed: false, fallback: true })
  })

  it('count until their time limit', async () => {
    const gate = new SlowGate()
    const guard = new Guard(gate)
    for (let index = 0; index < MAX_SIZES.concurrentChecks; index++) void guard.ask(messageOf(index))
    void guard.ask(messageOf(-1))
    await gate.clock.advanceAsync(1_000)
    expect(gate.asked.at(-1)).toBe('-1')
    guard.close()
  })
})
