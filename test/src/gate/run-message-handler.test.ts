import { describe, expect, it } from 'vitest'
import type { Message } from '../../../src/core/message.ts'
import { createSender, Gate, type HandlerRunResult, limit } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const messageOf = (topic: string): Message => ({ topic, on: 'publish', sender: createSender({}), size: 1 })

/** Handlers that end when they are asked to, and how many are at work by topic. */
class Work {
  readonly begun: string[] = []
  readonly atWork = new Map<string, number>()
  most = 0
  readonly #ends: { readonly topic: string; end(failure?: Error): void }[] = []

  take(topic: string, name = topic): Promise<string> {
    this.begun.push(name)
    const count = (this.atWork.get(topic) ?? 0) + 1
    this.atWork.set(topic, count)
    this.most = Math.max(this.most, count)
    return new Promise((resolve, reject) => {
      this.#ends.push({
        topic,
        end: failure => {
          this.atWork.set(topic, this.atWork.get(topic)! - 1)
          if (failure === undefined) resolve(name)
          else reject(failure)
        },
      })
    })
  }

  /** Ends the first that is at work on a topic. */
  end(topic: string, failure?: Error): void {
    const at = this.#ends.findIndex(each => each.topic === topic)
    this.#ends.splice(at, 1)[0]!.end(failure)
  }
}

/** Lets what has ended be told. */
const settled = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

function gateOf(...rules: Parameters<Gate['use']>[1][]): { readonly gate: Gate; readonly clock: FakeClock } {
  const clock = new FakeClock()
  const gate = new Gate({ clock, dialect: 'nats' })
  for (const rule of rules) gate.use('jobs.{tenant}', rule)
  return { gate, clock }
}

describe('gate.run', () => {
  it('runs the handler of an allowed message, and returns its result', async () => {
    const { gate } = gateOf(limit({ name: 'r', rate: '1/s' }))
    const result = await gate.run(messageOf('jobs.a'), decision => decision.remaining)
    expect(result).toMatchObject({ ran: true, value: 0, decision: { allowed: true, rule: 'r' } })
    expect(await gate.run(messageOf('jobs.a'), () => 1)).toMatchObject({
      ran: false,
      decision: { allowed: false, outcome: 'reject' },
    })
  })

  it('waits as the outcome requires, up to its maximum', async () => {
    const { gate, clock } = gateOf(limit({ name: 'r', rate: '1/s', exceeded: 'throttle' }))
    const results: HandlerRunResult<number>[] = []
    for (const maxWaitMs of [0, 1_000, 999]) {
      void gate
        .run(messageOf('jobs.a'), () => clock.now(), { maxWaitMs })
        .then(result => results.push(result))
    }
    await clock.advanceAsync(5_000)
    expect(results.map(({ ran }) => ran).sort()).toEqual([false, true, true])
  })

  it('limits concurrent handlers per key; the others wait in order', async () => {
    const { gate } = gateOf(limit({ name: 'work', inFlight: 2, per: 'tenant' }))
    const work = new Work()
    const all = ['a1', 'a2', 'a3', 'a4', 'b1'].map(name =>
      gate.run(messageOf(`jobs.${name[0]}`), () => work.take(name[0]!, name)),
    )
    await settled()
    expect(work.begun).toEqual(['a1', 'a2', 'b1'])
    work.end('a')
    await settled()
    expect(work.begun.at(-1)).toBe('a3')
    // One that comes now stands behind the one that waits.
    all.push(gate.run(messageOf('jobs.a'), () => work.take('a', 'a5')))
    work.end('a')
    await settled()
    expect(work.begun.at(-1)).toBe('a4')
    for (const topic of ['a', 'a', 'b']) {
      work.end(topic)
      await settled()
    }
    work.end('a')
    expect((await Promise.all(all)).every(({ ran }) => ran)).toBe(true)
    expect(work.most).toBe(2)
  })

  it('passes the slot of a failed handler to the next, and rejects with its error', async () => {
    const { gate } = gateOf(limit({ name: 'work', inFlight: 1 }))
    const work = new Work()
    const failing = gate.run(messageOf('jobs.a'), () => work.take('a', 'failing'))
    const thrown = gate.run(messageOf('jobs.a'), () => {
      throw new Error('at once')
    })
    const last = gate.run(messageOf('jobs.a'), () => 'last')
    await settled()
    work.end('a', new Error('later'))
    await expect(failing).rejects.toThrow('later')
    await expect(thrown).rejects.toThrow('at once')
    expect(await last).toMatchObject({ ran: true, value: 'last' })
  })

  it('obeys several limits at once, and holds no slot while it waits for another', async () => {
    const { gate } = gateOf(
      limit({ name: 'tenant', inFlight: 2, per: 'tenant' }),
      limit({ name: 'all', inFlight: 3 }),
    )
    const work = new Work()
    const names = ['a1', 'a2', 'b1', 'b2', 'a3', 'c1']
    const all = names.map(name => gate.run(messageOf(`jobs.${name[0]}`), () => work.take(name[0]!, name)))
    await settled()
    expect(work.begun).toEqual(['a1', 'a2', 'b1'])
    work.end('a')
    await settled()
    expect(work.begun.slice(3)).toEqual(['b2'])
    for (const topic of ['a', 'b', 'b', 'a', 'c']) {
      work.end(topic)
      await settled()
    }
    await Promise.all(all)
    expect(work.begun).toHaveLength(6)
  })

  it('refuses at once if the rule requires it, and ends a wait in time', async () => {
    const { gate, clock } = gateOf(limit({ name: 'work', inFlight: 1, per: 'tenant', exceeded: 'drop' }))
    const work = new Work()
    const first = gate.run(messageOf('jobs.a'), () => work.take('a'))
    expect(await gate.run(messageOf('jobs.a'), () => 2)).toMatchObject({
      ran: false,
      decision: { outcome: 'drop', reason: 'handler_busy', rule: 'work', limit: 1 },
    })
    work.end('a')
    await first
    const other = gateOf(limit({ name: 'work', inFlight: 1 }))
    const busy = other.gate.run(messageOf('jobs.a'), () => work.take('a'))
    const late = other.gate.run(messageOf('jobs.a'), () => 2, { maxWaitMs: 50 })
    await settled()
    other.clock.advance(50)
    expect(await late).toMatchObject({
      ran: false,
      decision: { outcome: 'throttle', reason: 'handler_busy' },
    })
    work.end('a')
    await busy
    expect(await other.gate.run(messageOf('jobs.a'), () => 3)).toMatchObject({ ran: true, value: 3 })
    await clock.advanceAsync(1)
  })

  it('follows the policy: running handlers stay counted, and waiting ones begin when there is more room', async () => {
    const policy = (inFlight: number | undefined) => ({
      version: 1,
      dialect: 'nats',
      rules:
        inFlight === undefined ? [] : [{ name: 'work', topic: 'jobs.{tenant}', per: 'tenant', inFlight }],
    })
    const gate = await Gate.fromPolicy(policy(1), { clock: new FakeClock() })
    const work = new Work()
    const all = ['1', '2', '3', '4'].map(name => gate.run(messageOf('jobs.a'), () => work.take('a', name)))
    await settled()
    expect(work.begun).toEqual(['1'])
    await gate.apply(policy(2))
    await settled()
    expect(work.begun).toEqual(['1', '2'])
    await gate.apply(policy(undefined))
    await settled()
    expect(work.begun).toEqual(['1', '2', '3', '4'])
    for (const _ of all) work.end('a')
    await Promise.all(all)
    await gate.close()
  })

  it.each([
    [{ inFlight: 0 }, 'inFlight'],
    [{ inFlight: 1.5 }, 'inFlight'],
    [{ inFlight: 2, rate: '1/s' }, 'rate'],
    [{ inFlight: 2, exceeded: 'queue' }, 'exceeded'],
  ])('refuses %o', (options, path) => {
    expect(() => limit({ name: 'work', ...options } as never)).toThrow(path)
  })
})
