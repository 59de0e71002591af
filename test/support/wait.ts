export interface WaitOptions {
  /** Default: 50,000. */
  readonly timeoutMs?: number
  /** Default: 5. */
  readonly everyMs?: number
  /** Name of the condition in the error message. */
  readonly what?: string | (() => string)
}

type Truthy<T> = Exclude<T, undefined | null | false | 0 | ''>

/**
 * Resolves with the value of `condition` once it is truthy. Checks it every `everyMs` and awaits promises. Rejects after
 * `timeoutMs`, with the last error of the condition as the cause.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = 50_000, everyMs = 5, what = 'the condition' }: WaitOptions = {},
): Promise<Truthy<T>> {
  const deadlineMs = performance.now() + timeoutMs
  let cause: unknown
  while (true) {
    try {
      const value = await condition()
      if (value) return value as Truthy<T>
      cause = undefined
    } catch (error) {
      cause = error
    }
    if (performance.now() >= deadlineMs) {
      const name = typeof what === 'function' ? what() : what
      throw new Error(`waited ${timeoutMs} ms for ${name}`, { cause })
    }
    await new Promise(resolve => setTimeout(resolve, everyMs))
  }
}
