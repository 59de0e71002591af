import type { MaybePromise } from './message.ts'

/** Returns true for a promise and for anything else with a `then` method. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}

/** Returns true if a value is a promise. */
export function isPromise<T>(answer: MaybePromise<T>): answer is Promise<T> {
  return isThenable(answer)
}

/** Applies a function to a value, now or when its promise resolves. Creates no promise for a plain value. */
export function andThen<T, U>(value: MaybePromise<T>, run: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return value instanceof Promise ? value.then(run) : run(value)
}
