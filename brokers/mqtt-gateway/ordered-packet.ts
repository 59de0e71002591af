import type { Message, Operation, Sender } from '../../src/core/message.ts'

/** A packet that keeps its place behind held messages; no rule applies to it. */
export class OrderedPacket implements Message {
  readonly sender: Sender
  readonly packet: Buffer

  constructor(sender: Sender, packet: Buffer) {
    this.sender = sender
    this.packet = packet
  }

  get topic(): string {
    return ''
  }

  get on(): Operation {
    return 'subscribe'
  }

  get size(): number {
    return this.packet.length
  }

  /** As for messages that pass in their turn after their client has gone. */
  get qos(): 0 {
    return 0
  }
}
