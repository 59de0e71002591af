import type { Aedes } from 'aedes'
import { brokerInternals } from './aedes-internals.ts'

/** Messages handled synchronously on one stack; each takes four frames. */
const MAX_DEPTH = 64

/**
 * Prevents a stack overflow in a broker whose subscriber leaves with thousands of messages in progress. mqemitter then
 * finds no listener for each waiting message, takes the next synchronously and overflows the stack after some
 * thousands, which ends the process. After a number of messages the next one is handled in a new turn of the event
 * loop. Order and concurrency are unchanged. A broker with another emitter is not patched.
 */
export function preventStackOverflow(broker: Aedes): void {
  const { mq } = brokerInternals(broker)
  const originalDo = mq?._do
  if (mq === undefined || typeof originalDo !== 'function' || typeof mq.current !== 'number') return
  let depth = 0
  function doNow(message: unknown, callback: unknown): unknown {
    depth++
    try {
      return originalDo!.call(mq, message, callback)
    } finally {
      depth--
    }
  }
  mq._do = (message, callback) => {
    if (depth < MAX_DEPTH) return doNow(message, callback)
    // Count it as in progress, so that a newer message does not overtake it.
    mq.current!++
    setImmediate(() => {
      mq.current!--
      doNow(message, callback)
    })
    return mq
  }
}
