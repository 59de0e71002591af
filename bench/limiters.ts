import { createRequire } from 'node:module'
import type { Redis } from 'ioredis'
import { RateLimiterMemory, RateLimiterRedis } from 'rate-limiter-flexible'
import type { MaybePromise, Message } from '../src/index.ts'

/** Decides a message; true if it may pass. */
export type Ask = (message: Message) => MaybePromise<boolean>

/** Units of each sender in a window. */
export interface Allowance {
  readonly units: number
  readonly windowMs: number
}

/**
 * Loads the packages of bench/limiters/package.json, which `npm run bench` installs. Why require: two of the stores are
 * not exported by their packages, and without their servers the packages have no complete types.
 */
const require = createRequire(`${process.cwd()}/node_modules/.cache/topicgate/limiters/package.json`)

/** Counts messages of a sender, as the stores of web frameworks do. */
interface WindowStore {
  init(options: { readonly windowMs: number }): void
  increment(key: string): MaybePromise<{ readonly totalHits: number }>
}
type WindowStoreModule = Readonly<Record<'MemoryStore', new () => WindowStore>>

interface LocalStore {
  incr(
    key: string,
    done: (error: Error | null, answer: { readonly current: number }) => void,
    windowMs: number,
    most: number,
  ): void
}
type LocalStoreModule = new (
  continueExceeding: boolean,
  exponentialBackoff: boolean,
  cache: number,
) => LocalStore

interface ThrottlerStorage {
  increment(
    key: string,
    windowMs: number,
    most: number,
    blockMs: number,
    name: string,
  ): Promise<{ readonly isBlocked: boolean }>
}
type ThrottlerModule = Readonly<Record<'ThrottlerStorageService', new () => ThrottlerStorage>>

interface Bucket {
  tryRemoveTokens(count: number): boolean
}
type LimiterModule = Readonly<
  Record<'RateLimiter', new (options: { tokensPerInterval: number; interval: number }) => Bucket>
>

function keyOf(message: Message): string {
  return message.sender.client!
}

/** The least that a limiter in memory can do: a token bucket per client in a Map that is never cleaned up. */
function openMap({ units, windowMs }: Allowance): Ask {
  const buckets = new Map<string, { tokens: number; atMs: number }>()
  const tokensPerMs = units / windowMs
  return message => {
    const key = keyOf(message)
    const nowMs = Date.now()
    const bucket = buckets.get(key)
    if (bucket === undefined) {
      buckets.set(key, { tokens: units - 1, atMs: nowMs })
      return true
    }
    bucket.tokens = Math.min(units, bucket.tokens + (nowMs - bucket.atMs) * tokensPerMs)
    bucket.atMs = nowMs
    if (bucket.tokens < 1) return false
    bucket.tokens--
    return true
  }
}

function openFlexible({ units, windowMs }: Allowance, redis?: Redis): Ask {
  const options = { points: units, duration: windowMs / 1_000 }
  const limiter =
    redis === undefined
      ? new RateLimiterMemory(options)
      : new RateLimiterRedis({ ...options, storeClient: redis })
  return async message => {
    try {
      await limiter.consume(keyOf(message))
      return true
    } catch (cause) {
      if (cause instanceof Error) throw cause
      return false
    }
  }
}

function openExpress({ units, windowMs }: Allowance): Ask {
  const { MemoryStore }: WindowStoreModule = require('express-rate-limit')
  const store = new MemoryStore()
  store.init({ windowMs })
  return async message => (await store.increment(keyOf(message))).totalHits <= units
}

function openHono({ units, windowMs }: Allowance): Ask {
  const { MemoryStore }: WindowStoreModule = require('hono-rate-limiter')
  const store = new MemoryStore()
  store.init({ windowMs })
  // Synchronous in this package.
  return message => (store.increment(keyOf(message)) as { readonly totalHits: number }).totalHits <= units
}

function openFastify({ units, windowMs }: Allowance): Ask {
  const LocalStore: LocalStoreModule = require('@fastify/rate-limit/store/LocalStore.js')
  // Its default is 5,000 keys, half of the senders.
  const store = new LocalStore(false, false, 20_000)
  let isAllowed = false
  const done = (_error: Error | null, answer: { readonly current: number }): void => {
    isAllowed = answer.current <= units
  }
  return message => {
    store.incr(keyOf(message), done, windowMs, units)
    return isAllowed
  }
}

function openNest({ units, windowMs }: Allowance): Ask {
  const { ThrottlerStorageService }: ThrottlerModule = require('@nestjs/throttler/dist/throttler.service.js')
  const storage = new ThrottlerStorageService()
  return async message =>
    !(await storage.increment(keyOf(message), windowMs, units, windowMs, 'default')).isBlocked
}

function openLimiter({ units, windowMs }: Allowance): Ask {
  const { RateLimiter }: LimiterModule = require('limiter')
  const limiters = new Map<string, Bucket>()
  return message => {
    const key = keyOf(message)
    let limiter = limiters.get(key)
    if (limiter === undefined) {
      limiter = new RateLimiter({ tokensPerInterval: units, interval: windowMs })
      limiters.set(key, limiter)
    }
    return limiter.tryRemoveTokens(1)
  }
}

/** Returns the least that a limiter in Redis can do: one counter per client that never expires. */
export function openIncrement({ units }: Allowance, redis: Redis): Ask {
  return async message => (await redis.incr(keyOf(message))) <= units
}

interface LimiterEntry {
  readonly title: string
  readonly open: (allowance: Allowance, redis?: Redis) => Ask
  /** True if it answers with a promise. */
  readonly isAsync: boolean
}

/** Limiters other than topicgate. */
export const LIMITERS: Readonly<Record<string, LimiterEntry>> = {
  map: { title: 'a token bucket in a Map, by hand', open: openMap, isAsync: false },
  flexible: { title: 'rate-limiter-flexible, RateLimiterMemory', open: openFlexible, isAsync: true },
  express: { title: 'express-rate-limit, MemoryStore', open: openExpress, isAsync: true },
  fastify: { title: '@fastify/rate-limit, LocalStore', open: openFastify, isAsync: false },
  hono: { title: 'hono-rate-limiter, MemoryStore', open: openHono, isAsync: false },
  nest: { title: '@nestjs/throttler, ThrottlerStorageService', open: openNest, isAsync: true },
  limiter: { title: 'limiter, a RateLimiter per key', open: openLimiter, isAsync: false },
}
