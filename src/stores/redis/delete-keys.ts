import { callIfLate, systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import type { StateSelector } from '../store.ts'
import { notConnected, type RedisClient, type RedisServerLink } from './redis-client-types.ts'
import type { StateKeyBuilder } from './state-keys.ts'

/** Keys that a server visits per scan step; takes far less than a millisecond. */
const SCAN_COUNT = '500'

/** Deletes the keys of a selector on every master; returns how many. Rejects with StoreError. */
export async function forgetKeys(
  client: RedisClient,
  keys: StateKeyBuilder,
  { rule, key }: StateSelector,
  timeoutMs: number,
): Promise<number> {
  if (!client.isReady()) throw notConnected(client)
  const masters = await withTimeLimit(client.masters(), timeoutMs)
  let count = 0
  for (const master of masters) {
    let cursor = '0'
    do {
      const found = await call(
        master,
        timeoutMs,
        'SCAN',
        cursor,
        'MATCH',
        keys.patternOf(rule, key),
        'COUNT',
        SCAN_COUNT,
      )
      const [next, names] = found as [unknown, readonly unknown[]]
      cursor = String(next)
      const ours = names.map(String).filter(name => keys.owns(name, rule, key))
      // One command per key, because on Cluster a command must not name keys of several slots.
      const gone = await Promise.all(ours.map(name => call(master, timeoutMs, 'DEL', name)))
      for (const one of gone) count += Number(one)
    } while (cursor !== '0')
  }
  return count
}

/** Pings every master; returns the problem, or undefined if all answer. */
export async function pingAll(client: RedisClient, timeoutMs: number): Promise<string | undefined> {
  if (!client.isReady()) return notConnected(client).message
  try {
    const masters = await withTimeLimit(client.masters(), timeoutMs)
    await Promise.all(masters.map(master => call(master, timeoutMs, 'PING')))
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function call(
  master: RedisServerLink,
  timeoutMs: number,
  command: string,
  ...args: string[]
): Promise<unknown> {
  return withTimeLimit(master.call(command, ...args), timeoutMs)
}

/** Resolves with the promise's value; rejects with StoreError if it fails or is late. */
function withTimeLimit<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = callIfLate(systemClock, timeoutMs, () =>
      reject(new StoreError(`redis: no answer within ${timeoutMs} ms`)),
    )
    promise.then(
      value => {
        cancel()
        resolve(value)
      },
      (cause: unknown) => {
        cancel()
        const message = cause instanceof Error ? cause.message : String(cause)
        reject(cause instanceof StoreError ? cause : new StoreError(`redis: ${message}`, { cause }))
      },
    )
  })
}
