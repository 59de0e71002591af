import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import {
  circuitBreaker,
  type Decision,
  Gate,
  limit,
  type Message,
  openStore,
  type Store,
} from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const HOUR_MS = 3_600_000
const closing: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

function message(client: string, topic = 't'): Message {
  return { topic, on: 'publish', sender: { client }, size: 1 }
}

/** Nodes of one SQLite file, on one clock. */
class Nodes {
  readonly clock = new FakeClock(0)
  readonly #folder = mkdtempSync(join(tmpdir(), 'topicgate-'))

  constructor() {
    closing.push(() => rmSync(this.#folder, { recursive: true }))
  }

  async open(): Promise<Gate> {
    const store: Store = await openStore(
      { url: `sqlite:${join(this.#folder, 'limits.db')}`, timeoutMs: 20_000 },
      { clock: this.clock },
    )
    const gate = new Gate({ store, clock: this.clock, behaviour: {} })
    gate.use(
      circuitBreaker().guard,
      limit({ name: 'all', rate: '1/h burst 10', per: 'client', exceeded: 'drop' }),
    )
    closing.push(
      () => store.close(),
      () => gate.close(),
    )
    return gate
  }

  /** Until what one says the others have had time to ask for. */
  async settle(): Promise<void> {
    for (let n = 0; n < 5; n++) await this.clock.advanceAsync(400)
  }
}

async function ask(gate: Gate, sent: Message): Promise<Decision> {
  return gate.check(sent)
}

describe('findings of one node', () => {
  it('apply on all nodes of a store: an abusive sender, for the same time', async () => {
    const nodes = new Nodes()
    const [a, b] = [await nodes.open(), await nodes.open()]
    const changes: string[] = []
    a.on('audit', ({ kind, action, id, reason }) => changes.push(`${kind} ${action} ${id}: ${reason}`))
    for (let n = 0; n < 21; n++) await ask(a, message('noisy'))
    expect(await ask(b, message('quiet'))).toMatchObject({ limit: 10 })
    await nodes.settle()
    expect(await ask(b, message('noisy'))).toMatchObject({
      limit: 3,
      scaled: { reason: 'behaviour abusive' },
    })
    expect((await ask(b, message('quiet'))).limit).toBe(10)
    // A node that comes later knows it as well.
    const c = await nodes.open()
    await nodes.settle()
    expect((await ask(c, message('noisy'))).limit).toBe(3)
    await nodes.clock.advanceAsync(2 * HOUR_MS)
    for (const gate of [a, b, c]) expect((await ask(gate, message('noisy'))).limit).toBe(10)
    expect(changes).toEqual([
      'behaviour added client:noisy: 11 of 21 refused',
      'behaviour expired client:noisy: its time is over',
    ])
  })

  it('apply on all nodes of a store: an open breaker, which each node tries for itself', async () => {
    const nodes = new Nodes()
    const [a, b] = [await nodes.open(), await nodes.open()]
    for (let n = 0; n < 11; n++) a.handlerMonitor.record(message('c', 'down'), { durationMs: 1, ok: false })
    await nodes.settle()
    expect(await ask(b, message('c', 'down'))).toMatchObject({ rule: 'breaker', retryAfterMs: 3_000 })
    expect((await ask(b, message('c', 'up'))).rule).toBe('all')
    await nodes.clock.advanceAsync(3_000)
    const tried = [await ask(b, message('c', 'down')), await ask(b, message('c', 'down'))]
    expect(tried.map(({ rule }) => rule)).toEqual(['all', 'breaker'])
    b.handlerMonitor.record(message('c', 'down'), { durationMs: 1, ok: true })
    expect((await ask(b, message('c', 'down'))).rule).toBe('all')
  })

  it('are bounded in number; the latest are kept', () => {
    const clock = new FakeClock(0)
    const gate = new Gate({ clock, behaviour: {} }).use(
      limit({ name: 'all', rate: '1/h burst 9', per: 'client', exceeded: 'drop' }),
    )
    closing.push(() => gate.close())
    const spend = (client: string): void => {
      for (let n = 0; n < 20; n++) gate.check(message(client))
    }
    // 9 of 18: half, and no more than that, until the next.
    for (let n = 0; n < 18; n++) gate.check(message('first'))
    for (let n = 0; n < MAX_SIZES.trackedSenders; n++) gate.check(message(`c${n}`))
    // Its count has gone: one refusal of one says nothing.
    expect(gate.check(message('first'))).not.toHaveProperty('scaled')
    expect(gate.check(message('first'))).not.toHaveProperty('scaled')
    spend('__proto__')
    expect(gate.check(message('__proto__'))).toMatchObject({ scaled: { factor: 0.3 } })
    spend('x'.repeat(100_000))
    expect(gate.check(message('x'.repeat(100_000)))).toMatchObject({ scaled: { factor: 0.3 } })
  })
})
