import type { Gate } from '../../src/gate/gate.ts'
import type { GatewayConnection } from './gateway-connection.ts'

/** Connections that are checked in one turn of the event loop. */
const SLICE = 500

/** Disconnects clients that are banned while they are connected. Returns a function that stops it. */
export function enforceBans(gate: Gate, connections: ReadonlySet<GatewayConnection>): () => void {
  let isScheduled = false
  let isStopped = false
  const checkSlice = (left: Iterator<GatewayConnection>): void => {
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
