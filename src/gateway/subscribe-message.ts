import type { Dialect, Message, Operation, Sender } from '../core/message.ts'

/** A subscription to a filter, as a message for the gate. */
export abstract class SubscribeMessage implements Message {
  readonly topic: string
  readonly sender: Sender
  abstract readonly protocol: Dialect

  constructor(topic: string, sender: Sender) {
    this.topic = topic
    this.sender = sender
  }

  get on(): Operation {
    return 'subscribe'
  }

  get size(): number {
    return 0
  }
}
