import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import type { LimitOptions } from '../../../src/chain/rules/rule-options.ts'
import type { Decision } from '../../../src/core/decision.ts'
import type { Message } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { Guard, type GuardOptions } from '../../../src/guard/guard.ts'
import { MemoryStore } from '../../../src/stores/memory/memory-store.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** A message of a client, with a number to tell it by. */
export interface Sent extends Message {
  readonly id: number
}

export interface Enacted {
  readonly id: number
  readonly client: string
  readonly topic: string
  readonly decision: Decision
  readonly atMs: number
}

/** A gate with rules and a guard that holds all, on a clock that stands still. */
export function setScene(
  rules: readonly (LimitOptions & { readonly topic?: string })[],
  options: GuardOptions = {},
) {
  const clock = new FakeClock(1_000_000)
  // The store sweeps by a clock of its own: what is pending on this one is the guard's.
  const gate = new Gate({ clock, store: new MemoryStore({ clock: new FakeClock() }) })
  for (const { topic, ...rule } of rules) gate.use(topic ?? '#', limit(rule))
  const guard = new Guard(gate, { holds: 'all', ...options })
  const enacted: Enacted[] = []
  const senderQueues = new Map<string, ReturnType<Guard['senderQueue']>>()
  const senders = new Map<string, { readonly client: string }>()
  let count = 0
  const senderQueueOf = (client: string) => {
    const senderQueue = senderQueues.get(client) ?? guard.senderQueue()
    senderQueues.set(client, senderQueue)
    return senderQueue
  }
  const send = (client: string, topic = 't', more: Partial<Message> = {}): number => {
    const id = count++
    const sender = senders.get(client) ?? { client }
    senders.set(client, sender)
    const message: Sent = { topic, on: 'publish', sender, size: 10, ...more, id }
    senderQueueOf(client).admit(message, (decision, m) => {
      enacted.push({ id: m.id, client, topic: m.topic, decision, atMs: clock.now() - 1_000_000 })
    })
    return id
  }
  const idsOf = (outcome: string) =>
    enacted.filter(each => each.decision.outcome === outcome).map(({ id }) => id)
  return { clock, gate, guard, enacted, send, senderQueueOf, idsOf }
}

export function priority(word: string | number): Partial<Message> {
  return { payload: () => ({ priority: word }) }
}
