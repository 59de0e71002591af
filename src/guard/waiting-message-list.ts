import type { Decision } from '../core/decision.ts'
import { type Linked, LinkedList } from '../core/linked-list.ts'
import type { Message } from '../core/message.ts'
import type { Ask, Enact, SenderQueueHooks } from './guard-types.ts'

/** Message in a sender queue. */
export interface WaitingMessage extends Linked<WaitingMessage> {
  readonly message: Message
  readonly sizeBytes: number
  readonly sinceMs: number
  /** Not yet asked about, asked about, or decided. */
  phase: 'waiting' | 'asking' | 'decided'
  decision: Decision | undefined
  /** True once it has left the list. A later answer is ignored. */
  isRemoved: boolean
  readonly enact: Enact<Message>
  readonly ask: Ask<Message> | undefined
  /** Hooks of the connection that sent the message. */
  readonly hooks: SenderQueueHooks
}

/** Messages of a sender queue in order of arrival. */
export class WaitingMessageList extends LinkedList<WaitingMessage> {
  /** First message that was never asked about. */
  unasked: WaitingMessage | undefined
  bytes = 0

  override append(entry: WaitingMessage): void {
    super.append(entry)
    this.bytes += entry.sizeBytes
    this.unasked ??= entry
  }

  /** Marks a message as asked about. */
  markAsked(entry: WaitingMessage): void {
    if (this.unasked === entry) this.unasked = entry.next
  }

  override remove(entry: WaitingMessage): void {
    this.markAsked(entry)
    super.remove(entry)
    this.bytes -= entry.sizeBytes
    entry.isRemoved = true
  }
}
