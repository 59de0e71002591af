import { type Clock, callIfLate } from './clock.ts'
import { StoreError } from './errors.ts'
import type { MaybePromise } from './message.ts'

/** Resolves with an answer, or rejects with StoreError after `ms`. Errors thrown by `ask` become rejections. */
export async function withTimeout<T>(clock: Clock, ms: number, ask: () => MaybePromise<T>): Promise<T> {
  const answer = ask()
  if (!(answer instanceof Promise)) return answer
  return new Promise((resolve, reject) => {
    const cancel = callIfLate(clock, ms, () => reject(timeoutError(ms)))
    answer.then(resolve, reject).finally(cancel)
  })
}

export function timeoutError(ms: number): StoreError {
  return new StoreError(`no answer within ${ms} ms`)
}

/** Returns the message of anything thrown. Never throws. */
export function errorText(cause: unknown): string {
  try {
    return (cause instanceof Error ? cause.message : String(cause)).slice(0, 500)
  } catch {
    return 'an error that cannot be read'
  }
}
