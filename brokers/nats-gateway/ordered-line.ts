import { PASSED } from '../../src/core/decision.ts'
import type { Message, Operation, Sender } from '../../src/core/message.ts'
import type { SenderQueue } from '../../src/guard/guard.ts'
import type { ConnectionState } from './connection-state.ts'

/** A line that keeps its place behind held messages; no rule applies to it. */
export class OrderedLine implements Message {
  readonly sender: Sender
  readonly #connection: ConnectionState
  readonly #line: Buffer
  readonly #onSend: () => void

  /** `line` is kept; `onSend` is called when it is sent. */
  constructor(connection: ConnectionState, line: Buffer, onSend: () => void) {
    this.sender = connection.sender
    this.#connection = connection
    this.#line = line
    this.#onSend = onSend
  }

  get topic(): string {
    return ''
  }

  get on(): Operation {
    return 'subscribe'
  }

  get size(): number {
    return this.#line.length
  }

  /** Sends the line to the server behind the messages that the queue holds. */
  enqueue(queue: SenderQueue): void {
    const send = (): void => {
      if (this.#connection.isClosing) return
      this.#onSend()
      this.#connection.toServer.insert(this.#line)
    }
    queue.admit(this, send, () => PASSED)
  }
}
