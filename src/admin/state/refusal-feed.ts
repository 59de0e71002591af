import { matches } from '../../topic/pattern.ts'
import type { RefusalJson } from '../schemas/senders.ts'

/** A refusal with the id of its sender, as events contain it. */
export type SentRefusal = RefusalJson & { readonly sender: string }

/** Refusals that a reader wants; a field that is left out matches all. */
export interface RefusalFilter {
  readonly sender?: string | undefined
  readonly rule?: string | undefined
  /** MQTT filter or NATS subject with wildcards. */
  readonly topic?: string | undefined
}

interface Subscription {
  readonly filter: RefusalFilter
  readonly send: (refusal: SentRefusal) => void
  /** Refusals sent in this second, and those left out. */
  sent: number
  unsent: number
}

const PER_SECOND = 20

/** Sends refusals to any number of listeners: at most 20 a second to each, and the next one counts for those left out. */
export class RefusalFeed {
  readonly #subscriptions = new Set<Subscription>()

  get isEmpty(): boolean {
    return this.#subscriptions.size === 0
  }

  /** Adds a listener. The returned function removes it. */
  subscribe(filter: RefusalFilter, send: (refusal: SentRefusal) => void): () => void {
    const subscription = { filter, send, sent: 0, unsent: 0 }
    this.#subscriptions.add(subscription)
    return () => void this.#subscriptions.delete(subscription)
  }

  publish(refusal: SentRefusal): void {
    for (const subscription of this.#subscriptions) {
      if (!isWanted(refusal, subscription.filter)) continue
      subscription.unsent += refusal.count
      if (subscription.sent >= PER_SECOND) continue
      subscription.sent++
      subscription.send({ ...refusal, count: subscription.unsent })
      subscription.unsent = 0
    }
  }

  /** Begins a new second. */
  startSecond(): void {
    for (const subscription of this.#subscriptions) subscription.sent = 0
  }
}

function isWanted(refusal: SentRefusal, { sender, rule, topic }: RefusalFilter): boolean {
  return (
    (sender === undefined || refusal.sender === sender) &&
    (rule === undefined || refusal.rule === rule) &&
    (topic === undefined || matches(topic, refusal.topic) || matches(topic, refusal.topic, 'nats'))
  )
}
