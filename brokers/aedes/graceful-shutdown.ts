import { type Clock, startAwaitedTimer } from '../../src/core/clock.ts'
import { brokerInternals } from './aedes-internals.ts'
import type { BrokerContext } from './broker-context.ts'

const CHECK_MS = 20
/**
 * Consecutive idle checks that count as drained. Why: aedes' persistence may be remote and does not report its work.
 */
const IDLE_CHECKS = 5
/** Maximum wait for a subscriber that does not read. */
const MAX_SEND_WAIT_MS = 1_000

/**
 * Lets held messages pass for at most `withinMs`, then stops processing publishes and waits until accepted messages
 * have been sent. Why: aedes acknowledges QoS 1 before it delivers, so closing in between loses the message.
 */
export async function drainBroker(context: BrokerContext, withinMs: number): Promise<void> {
  const { guard, broker } = context
  const { clock } = guard
  const deadlineMs = clock.now() + withinMs
  while (guard.stats().held > 0 && !broker.closed && clock.now() < deadlineMs) await pause(clock)
  context.stopAccepting()
  const sendDeadlineMs = clock.now() + MAX_SEND_WAIT_MS
  for (let idleChecks = 0; idleChecks < IDLE_CHECKS && !broker.closed && clock.now() < sendDeadlineMs; ) {
    await pause(clock)
    idleChecks = isIdle(context) ? idleChecks + 1 : 0
  }
}

function isIdle({ broker, connections }: BrokerContext): boolean {
  if ((brokerInternals(broker).mq?.current ?? 0) > 0) return false
  for (const connection of connections) if (connection.unsentBytes > 0) return false
  return true
}

function pause(clock: Clock): Promise<void> {
  return new Promise(resolve => void startAwaitedTimer(clock, CHECK_MS, resolve))
}
