import type { Clock } from '../core/clock.ts'

/**
 * Calls `run` once: when `isDone` returns true at a check, or after `withinMs`. Checks once, and whenever the returned
 * function is called, each time after the packets before the current one are forwarded.
 */
export function runWhenDone(
  clock: Clock,
  withinMs: number,
  isDone: () => boolean,
  run: () => void,
): () => void {
  let isFinished = false
  const finish = (): void => {
    if (isFinished) return
    isFinished = true
    cancel()
    run()
  }
  const cancel = clock.after(withinMs, finish)
  const check = (): void =>
    void setImmediate(() => {
      if (!isFinished && isDone()) finish()
    })
  check()
  return check
}
