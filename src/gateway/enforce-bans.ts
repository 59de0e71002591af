import type { Decision } from '../core/decision.ts'
import type { Sender } from '../core/message.ts'
import type { Gate } from '../gate/gate.ts'

/** A connection of a gateway. */
interface BannableConnection {
  /** True once the broker has accepted the client. */
  readonly isOpen: boolean
  readonly sender: Sender
  disconnect(decision: Decision): void
}

/** Connections that are checked in one turn of the event loop. */
const SLICE = 500

/** Disconnects clients that are banned while they are connected. Returns a function that stops it. */
export function enforceBans(gate: Gate, connections: ReadonlySet<BannableConnection>): () => void {
  let isScheduled = false
  let isStopped = false
  const checkSlice = (left: Iterator<BannableConnection>): void => {
    for (let count = 0; count < SLICE; count++) {
      const { value: connection, done } = left.next()
      if (done === true || isStopped) return
      const ban = connection.isOpen ? gate.banOf(connection.sender) : undefined
      if (ban !== undefined) connection.disconnect(ban)
    }
    setImmediate(() => checkSlice(left))
  }
  const onChange = (): void => {
    if (isScheduled || gate.bans.size === 0) return
    isScheduled = true
    setImmediate(() => {
      isScheduled = false
      checkSlice(connections.values())
    })
  }
  gate.on('changed', onChange)
  return () => {
    isStopped = true
    gate.off('changed', onChange)
  }
}
