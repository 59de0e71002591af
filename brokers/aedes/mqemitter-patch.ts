import type { Aedes } from 'aedes'

/** Messages one after another on one stack; each takes four frames. */
const DEEPEST = 64

/** Of mqemitter, with which aedes hands messages to subscribers; not in its types. */
interface Emitter {
  current: number
  _do?(message: unknown, callback: unknown): unknown
}

/**
 * Keeps a broker alive whose subscriber leaves with thousands of messages under way: mqemitter then finds nobody for
 * each of those that wait, takes the next at once, and with some thousands of them overflows the stack, which ends the process.
 * Here the next of a long row is taken in a turn of its own. Order and the number under way stay as they are. A broker with
 * another emitter is left alone.
 */
export function patchMqEmitter(broker: Aedes): void {
  const { mq } = broker as unknown as { readonly mq?: Emitter }
  const take = mq?._do
  if (mq === undefined || typeof take !== 'function' || typeof mq.current !== 'number') return
  let depth = 0
  function takeNow(message: unknown, callback: unknown): unknown {
    depth++
    try {
      return take!.call(mq, message, callback)
    } finally {
      depth--
    }
  }
  mq._do = (message, callback) => {
    if (depth < DEEPEST) return takeNow(message, callback)
    // It counts as under way meanwhile, or a newcomer would overtake it.
    mq.current++
    setImmediate(() => {
      mq.current--
      takeNow(message, callback)
    })
    return mq
  }
}
