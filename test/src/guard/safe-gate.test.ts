import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import { StoreError } from '../../../src/core/errors.ts'
import type { Message } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { Guard, type GuardOptions } from '../../../src/guard/guard.ts'
import { ResilientStore } from '../../../src/stores/resilient/resilient-store.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { FaultyStore, type Way } from '../stores/resilient/faulty-store.ts'

const message: Message = { topic: 't', on: 'publish', sender: { client: 'c' }, size: 0 }

/** What a guard enacts of one message whose store goes a way, and when. */
async function enacted(way: Way, timeoutMs: number, options: GuardOptions = {}): Promise<string> {
  const clock = new FakeClock()
  const inner = new FaultyStore(clock)
  inner.way = way
  const store = new ResilientStore({ store: inner, clock, timeoutMs, fallback: 'deny' })
  const gate = new Gate({ clock, store }).use(limit({ name: 'r', rate: '1/s', exceeded: 'drop' }))
  const guard = new Guard(gate, options)
  const startMs = clock.now()
  let result = 'nothing'
  guard.senderQueue().admit(message, ({ outcome, reason, fallback }) => {
    result = `${clock.now() - startMs} ms: ${outcome} ${reason}${fallback ? ' by fallback' : ''}`
  })
  for (let ms = 0; ms < 10_000; ms += 100) await clock.advanceAsync(100)
  const { timeouts } = guard.stats()
  guard.close()
  inner.way = 'now'
  await Promise.all([gate.close(), store.close()])
  return `${result}, ${timeouts} timeouts`
}

describe('a guard before a store with a time limit', () => {
  it("waits for an answer within the store's own time limit, however long it is", async () => {
    expect(await enacted('late', 1_500)).toBe('1000 ms: deliver ok, 0 timeouts')
    expect(await enacted('late', 5_000)).toBe('1000 ms: deliver ok, 0 timeouts')
  })

  it("uses the store's own fallback after the time limit", async () => {
    expect(await enacted('hang', 250)).toBe('250 ms: drop store_unavailable by fallback, 0 timeouts')
    expect(await enacted('hang', 5_000)).toBe('5000 ms: drop store_unavailable by fallback, 0 timeouts')
  })

  it('uses its own time limit if one is set', async () => {
    const options = { decideTimeoutMs: 700 }
    expect(await enacted('hang', 5_000, options)).toBe(
      '700 ms: reject store_unavailable by fallback, 1 timeouts',
    )
  })
})

describe('a guard whose gate fails', () => {
  const failing = (error: Error, fallback?: string): Gate => {
    const store = { ...(fallback === undefined ? {} : { fallback }), answersWithinMs: 250 }
    const check = (): never => {
      throw error
    }
    return { check, store } as unknown as Gate
  }

  it('refuses messages if the store has no fallback', () => {
    expect(new Guard(failing(new StoreError('away'))).ask(message)).toMatchObject({
      ...{ allowed: false, reason: 'store_unavailable', fallback: true },
    })
  })

  it('follows the fallback of the store, and not its own option for middleware', () => {
    const open = new Guard(failing(new StoreError('away'), 'allow'), { middlewareFallback: 'deny' })
    const shut = new Guard(failing(new StoreError('away'), 'deny'), { middlewareFallback: 'allow' })
    expect(open.ask(message)).toMatchObject({ allowed: true, fallback: true })
    expect(shut.ask(message)).toMatchObject({ allowed: false, fallback: true })
  })

  it('follows its own option if middleware throws', () => {
    expect(new Guard(failing(new Error('a bug'))).ask(message)).toMatchObject({ allowed: true })
    const shut = new Guard(failing(new Error('a bug')), { middlewareFallback: 'deny' })
    expect(shut.ask(message)).toMatchObject({ allowed: false })
  })

  it('rejects the former option name', () => {
    const options = { fallback: 'allow' } as GuardOptions
    expect(() => new Guard(failing(new Error('a bug')), options)).toThrow('write middlewareFallback')
  })
})
