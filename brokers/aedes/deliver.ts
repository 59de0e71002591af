import type { Client } from 'aedes'
import type { Decision } from '../../src/decision.ts'
import { composeHook } from './hooks.ts'
import { AedesMessage, type PacketLike } from './message.ts'
import type { Station } from './station.ts'

/**
 * Limits what is delivered to a client, and withholds from clients that do not read. aedes asks synchronously, so an
 * answer that comes later lets the message pass. Returns what takes it off again.
 */
export function limitDeliveries(station: Station): () => void {
  const { broker, gate, guard, settings, tally } = station
  // Each delivery to each subscriber would be asked about: only where the answer may be no.
  let ruled = false
  const look = (): void => {
    ruled = settings.limitDeliveries ?? gate.outcomes('deliver').size > 0
  }
  look()
  gate.on('policy', look)

  function refuses(client: Client, packet: PacketLike): boolean {
    const connection = station.connectionOf(client)
    const message = new AedesMessage('deliver', connection.sender, packet)
    const answer = guard.ask(message)
    if (answer instanceof Promise || answer.allowed) return false
    station.refusals.note(message, answer)
    if (answer.outcome === 'disconnect') closeSubscriber(client, answer)
    if (mayWithhold(client, packet)) {
      tally.deliveriesRefused++
      return true
    }
    tally.deliveriesSpared++
    return false
  }

  function closeSubscriber(client: Client, decision: Decision): void {
    if (client.closed) return
    tally.disconnected++
    station.connectionOf(client).isCutOff = true
    station.logger.info({ client: client.id, rule: decision.rule }, 'subscriber disconnected')
    setImmediate(() => client.close())
  }

  const detach = composeHook(broker, 'authorizeForward', composed => (client, packet) => {
    const forward = composed.users.call(broker, client, packet)
    if (!forward || composed.retired) return forward
    if (client.conn.writableLength > settings.maxUnsentBytes && mayWithhold(client, packet)) {
      tally.frozen++
      return null
    }
    return ruled && !station.notices?.covers(forward.topic) && refuses(client, forward) ? null : forward
  })

  return () => {
    gate.off('policy', look)
    detach()
  }
}

/**
 * aedes answers a refused delivery of QoS 1 or 2 to a persistent session by taking another packet out of its queue:
 * there it must not be refused.
 */
function mayWithhold(client: Client, packet: PacketLike): boolean {
  return client.clean || !packet.qos
}
