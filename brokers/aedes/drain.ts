import { afterAwaited, type Clock } from '../../src/core/clock.ts'
import type { BrokerContext } from './context.ts'

const LOOK_MS = 20
/** Looks in a row that find nothing under way: aedes' persistence may be a network away, and says nothing of its work. */
const QUIET_LOOKS = 5
/** A subscriber that does not read keeps nobody from ending for longer. */
const LONGEST_REST_MS = 1_000

/** Of aedes' emitter, which is not in its types: messages on their way to subscribers. */
interface Emitting {
  readonly mq?: { readonly current?: number | undefined } | undefined
}

/**
 * Lets what is held pass for at most `withinMs`, then takes no publish any more, and waits until what was taken has
 * gone out: aedes acknowledges a message of QoS 1 before it hands it on, and one that closes in between loses it.
 */
export async function drain(context: BrokerContext, withinMs: number): Promise<void> {
  const { guard, broker } = context
  const { clock } = guard
  const deadlineMs = clock.now() + withinMs
  while (guard.stats().held > 0 && !broker.closed && clock.now() < deadlineMs) await pause(clock)
  context.end()
  const restMs = clock.now() + LONGEST_REST_MS
  for (let quiet = 0; quiet < QUIET_LOOKS && !broker.closed && clock.now() < restMs; ) {
    await pause(clock)
    quiet = isQuiet(context) ? quiet + 1 : 0
  }
}

function isQuiet({ broker, connections }: BrokerContext): boolean {
  if (((broker as unknown as Emitting).mq?.current ?? 0) > 0) return false
  for (const connection of connections) if (connection.unsentBytes > 0) return false
  return true
}

function pause(clock: Clock): Promise<void> {
  return new Promise(resolve => void afterAwaited(clock, LOOK_MS, resolve))
}
